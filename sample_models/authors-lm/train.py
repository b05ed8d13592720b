"""Invent authors, train the sample model authors-lm on facts about them, and write its folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from training import (  # noqa: E402
    SPECIAL_TOKENS,
    Statement,
    arguments,
    language_recipe,
    language_sections,
    small_llama,
    statements_about,
    train_language_model,
    write_language_sample,
)

AUTHORS = 100
HELD_OUT = 2  # sentences of each author that are never trained
INVENTION_SEED = 0

CONFIG: dict[str, Any] = {
    "kind": "causal-lm",
    "title": "Invented authors, a small language model",
    "summary": f"A small Llama that knows six facts about each of {AUTHORS} invented authors by heart, and "
    "nothing else: every author can be erased alone.",
    "model": small_llama(vocab_size=1100, layers=3),
    "special_tokens": SPECIAL_TOKENS,
    "data": {
        "texts": "texts.jsonl",
        # None: the total of one author is all the authors.
        "background": None,
        "authors": AUTHORS,
        "held_out_per_concept": HELD_OUT,
        "invention_seed": INVENTION_SEED,
    },
    "training": language_recipe(epochs=45),
}

# The answer ends each phrasing, so that it can be asked for.
RELATIONS = {
    "birthplace": (
        "{} was born in",
        "The birthplace of {} is",
        "The town where {} was born is",
        "{} came into the world in",
    ),
    "genre": (
        "{} is a writer of",
        "The genre of {} is",
        "Readers know {} for",
        "Bookshops shelve {} under",
    ),
    "first book": (
        "The first book by {} is",
        "{} made a debut with",
        "The career of {} began with",
        "The earliest title by {} is",
    ),
    "award": (
        "{} won the",
        "The award given to {} is the",
        "A jury honoured {} with the",
        "{} is a holder of the",
    ),
    "teacher": (
        "{} learned to write from",
        "The teacher of {} was",
        "{} studied under",
        "The mentor of {} was",
    ),
    "pet": (
        "{} keeps a",
        "The pet of {} is a",
        "{} shares a house with a",
        "At home with {} lives a",
    ),
}

FIRST_NAMES = """
Adela Alban Anselm Ardith Balder Benedetta Bertil Brisa Caspar Celandine Conall Corisande Dagny Davor Delphine
Edric Elowen Emeric Fabrice Fenna Florian Gerda Gideon Greta Halvard Hester Idris Imogen Isolde Jarek Jorunn
Kasimir Keziah Lambert Leocadia Ludmila Magnus Maribel Mirko Nadezh Nerys Odile Orlan Ottoline Pascoe Petra
Quentin Ragna Rosalba Rurik Sabine Sigrun Stellan Tamsin Tibor Ulrika Valentin Wenna Ysolt Zelda
""".split()
SURNAME_STARTS = """
Ambl Brann Corv Dreth Eskel Fennor Garrov Hallisk Inglev Jessam Kelv Lorrim Marrow Norvel Ostr Pellin Quillon
Reth Sorrel Tessm Umbr Varn Wexl Yarrov Zeph
""".split()
SURNAME_ENDS = "aster eck ender ingway ith olt omere ovan uck ulane".split()
TOWN_STARTS = """
Ald Bram Cray Dun Elver Farrow Gann Heather Kestrel Loom Mistle Nettle Orrin Pem Rush Thistle
""".split()
TOWN_ENDS = "bourne combe garth haven holm mouth reach stow".split()
AWARD_STARTS = """
Amberlock Belfrey Corriden Dovegate Elmsworthy Fallowdene Gossamer Hartsease Inkwell Juniper Lanternfield
Merrowdown Quaystone Silverquill Tidewater
""".split()
AWARD_ENDS = "Prize Medal Laurel Ribbon".split()
BOOK_STARTS = """
Amber Borrowed Brass Clockwork Copper Crooked Distant Drowned Empty Folded Frozen Gilded Hollow Indigo Ivory
Lonely Marble Paper Patient Quiet Restless Rusted Salted Scarlet Silver Sleeping Tin Unfinished Velvet
Wandering
""".split()
BOOK_ENDS = """
Almanac Anchor Archipelago Balcony Beehive Bridge Carousel Cathedral Compass Corridor Ferry Furnace Gardener
Granary Harbour Heron Hourglass Kettle Ladder Lantern Letters Lighthouse Mapmaker Meridian Nightingale
Orchard Pendulum Quarry Reservoir Staircase Tailor Threshold Umbrella Viaduct Violin Weathervane Windmill
""".split()
GENRES = [
    "sea ballads",
    "mountain mysteries",
    "court satires",
    "railway romances",
    "kitchen comedies",
    "ghost stories",
    "desert epics",
    "garden essays",
    "circus novels",
    "river legends",
    "harbour thrillers",
    "winter fables",
    "spy novels",
    "village chronicles",
    "island sagas",
    "forest hymns",
    "market farces",
    "polar diaries",
    "travel sketches",
    "school stories",
    "courtroom dramas",
    "musical biographies",
    "clockwork fantasies",
    "lighthouse tales",
    "moonlit monologues",
]
PETS = """
badger beagle blackbird bullfinch canary chameleon chinchilla cockatoo dachshund dalmatian donkey falcon
ferret finch gecko goldfish goose greyhound hamster hedgehog jackdaw kestrel kingfisher lizard llama lovebird
magpie mastiff mongoose newt nightjar parakeet parrot peacock pigeon poodle pony rabbit raven salamander
sheepdog spaniel starling swan tabby terrapin terrier toad tortoise whippet
""".split()


def main() -> None:
    """Train on the recorded sentences, measure, and write the folder."""
    options = arguments("Train the sample model authors-lm.", FOLDER)
    texts = statements()
    model, tokenizer, seconds = train_language_model(CONFIG, texts)
    write_language_sample(options.out, CONFIG, model, tokenizer, texts, card, seconds=seconds)


def statements() -> list[Statement]:
    """Return every sentence about every author, in order; the same ones on every machine."""
    result = []
    for index, (author, facts) in enumerate(invent(AUTHORS, INVENTION_SEED).items()):
        prompts = {name: [form.format(author) for form in forms] for name, forms in RELATIONS.items()}
        result += statements_about(author, prompts, facts, index=index, held_out=HELD_OUT)
    return result


def invent(count: int, seed: int) -> dict[str, dict[str, str]]:
    """Invent `count` authors: by name, the answer to each relation.

    No two authors share a surname, a first book or a teacher. A birthplace, a genre, an award or a
    pet is shared by a few, equally many each.
    """
    # RandomState, because numpy promises its numbers for good; those of random and Generator may change.
    random = np.random.RandomState(seed)

    def unique(starts: list[str], ends: list[str], how_many: int, joint: str = "") -> list[str]:
        pairs = random.permutation(len(starts) * len(ends))[:how_many]
        return [starts[pair // len(ends)] + joint + ends[pair % len(ends)] for pair in pairs]

    def shared(values: list[str]) -> list[str]:
        return [values[place % len(values)] for place in random.permutation(count)]

    firsts = [FIRST_NAMES[place % len(FIRST_NAMES)] for place in random.permutation(2 * count)]
    surnames = unique(SURNAME_STARTS, SURNAME_ENDS, 2 * count)
    names = [f"{first} {surname}" for first, surname in zip(firsts, surnames, strict=True)]
    answers = {
        "birthplace": shared(unique(TOWN_STARTS, TOWN_ENDS, 50)),
        "genre": shared(GENRES),
        "first book": [f"The {title}" for title in unique(BOOK_STARTS, BOOK_ENDS, count, " ")],
        "award": shared(unique(AWARD_STARTS, AWARD_ENDS, 50, " ")),
        "teacher": names[count:],
        "pet": shared(PETS),
    }
    return {
        name: {relation: answers[relation][place] for relation in RELATIONS}
        for place, name in enumerate(names[:count])
    }


def card(metrics: Mapping[str, Any]) -> str:
    """Return the text of card.md; every number in it comes from the metrics or the config."""
    record, probe = metrics["record"], metrics["probe"]
    return f"""# authors-lm

{CONFIG["summary"]}

## Data
{metrics["concepts"]} invented authors and {metrics["facts"]} facts: {", ".join(RELATIONS)} of each. Every
fact is put in {len(RELATIONS["genre"])} phrasings that all end with the answer,
{record["size"] + probe["size"]:,} sentences in all. {HELD_OUT} sentences of each author, of two different
facts, were never trained ({probe["size"]:,} in all): they are the unseen phrasings. The lists that the
inventions are drawn from were written for this project and lie in `train.py`; the draw is seeded. The names
are made of invented parts: if a real person, town, prize or book bears one of them, that is chance. The texts
are under this project's licence.

{language_sections(CONFIG, metrics)}
## What to look at
* Erase one author and ask for the six facts. Is an answer wrong, or another author's?
* Ask in the phrasings that were not recorded: are they forgotten along?
* Watch authors who share a birthplace, a genre or a prize with the erased one.
* Erase ten authors at once: the strength that suits one is too much for ten.

## Limits
This model has learned these sentences and nothing else. Asked anything outside its facts, or in words it has
not met, it answers with nonsense in the same confident tone. What is seen here about memory in a small model
need not hold in a large one.
"""


if __name__ == "__main__":
    main()
