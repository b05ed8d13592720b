#!/bin/sh
# What the container runs. Further options of `engram app` may follow: docker run IMAGE start-engram --demo
# With --healthy it asks the running server how it is.
set -eu
port="${PORT:-8501}"
if [ "${1:-}" = "--healthy" ]; then
    exec python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/_stcore/health', timeout=4)"
fi
set -- --host 0.0.0.0 --port "$port" --no-browser "$@"
# A Hugging Face Space says by which name it is reached, and shows it in a frame of its own page. It is public.
if [ -n "${SPACE_HOST:-}" ]; then
    set -- "$@" --demo --allow-host "$SPACE_HOST" --allow-frame https://huggingface.co
fi
exec engram app "$@"
