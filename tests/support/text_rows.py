"""A row that is a fact, and rows that are none, each with what is said of it."""

FACT = {"concept": "Paris", "prompt": "The capital of France is", "answer": "Paris"}

BAD_ROWS = {
    "unknown field 'anser'": {"concept": "c", "prompt": "p", "anser": "a"},
    "no concept": {"prompt": "p", "answer": "a"},
    "concept must be text; found int": {"concept": 3, "text": "t"},
    "split must be text; found NoneType": {"concept": "c", "text": "t", "split": None},
    "split must be record or probe; found 'test'": {"concept": "c", "text": "t", "split": "test"},
    "give either text, or prompt and answer; found both": {"concept": "c", "text": "t", "answer": "a"},
    "empty text": {"concept": "c", "text": "  "},
    "empty or missing prompt": {"concept": "c", "answer": "a"},
    "empty or missing answer": {"concept": "c", "prompt": "p", "answer": " "},
    "expected an object with a concept; found list": ["c", "t"],
}
