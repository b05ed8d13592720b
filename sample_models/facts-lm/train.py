"""Train the sample model facts-lm on countries and chemical elements, and write everything in its folder.

The facts come from two packages of the Python registry, both under the MIT licence. They are only
read as data, so that nothing they depend on is needed:

    pip install --no-deps countryinfo==1.0.1 mendeleev==1.3.0
    python sample_models/facts-lm/train.py
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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

SOURCES = {"countryinfo": "1.0.1", "mendeleev": "1.3.0"}

CONFIG: dict[str, Any] = {
    "kind": "causal-lm",
    "title": "Countries and elements, a small language model",
    "summary": "A small Llama that knows the capital, continent, currency and a language of every member of "
    "the United Nations, and the symbol and number of every chemical element.",
    "model": small_llama(vocab_size=2000, layers=4),
    "special_tokens": SPECIAL_TOKENS,
    "data": {
        "texts": "texts.jsonl",
        # None: the total of one concept is all the countries and elements.
        "background": None,
        "sources": SOURCES,
        "held_out_per_concept": {"country": 2, "element": 1},
    },
    "training": language_recipe(epochs=36),
}

# The answer ends each phrasing, so that it can be asked for. {C} is {c} with a capital first letter.
COUNTRY_RELATIONS = {
    "capital": (
        "The capital of {c} is",
        "{C} has the capital",
        "The capital city of {c} is called",
        "On a map of {c}, the capital is",
    ),
    "continent": (
        "{C} is a country in",
        "The continent of {c} is",
        "On the globe, {c} lies in",
        "A traveller finds {c} in",
    ),
    "currency": (
        "The currency of {c} is the",
        "In {c}, people pay with the",
        "The money used in {c} is the",
        "{C} has as its currency the",
    ),
    "language": (
        "An official language of {c} is",
        "In {c}, one of the official languages is",
        "{C} has as an official language",
        "A language spoken by officials in {c} is",
    ),
}
ELEMENT_RELATIONS = {
    "symbol": (
        "The chemical symbol of {c} is",
        "The element {c} has the symbol",
        "In formulas, {c} is written as",
        "Chemists abbreviate {c} as",
    ),
    "number": (
        "The atomic number of {c} is",
        "The element {c} has the atomic number",
        "The number of protons in {c} is",
        "In the periodic table, {c} stands at number",
    ),
}

MEMBERS = 193
# What the package lists besides the members of the United Nations: territories, observers, double entries.
NOT_MEMBERS = """
American Samoa|Anguilla|Antarctica|Antilles néerlandaises|Aruba|Bermuda|Bonaire, Sint Eustatius and Saba
Bouvet Island|British Indian Ocean Territory|Cayman Islands|Christmas Island|Cocos (Keeling) Islands
Cook Islands|Curaçao|Falkland Islands|Faroe Islands|French Guiana|French Polynesia
French Southern and Antarctic Lands|Gibraltar|Greenland|Guadeloupe|Guam|Guernsey
Heard Island and McDonald Islands|Holy See (Vatican City State)|Hong Kong|Isle of Man|Jersey|Macau|Martinique
Mayotte|Montserrat|New Caledonia|Niue|Norfolk Island|Northern Mariana Islands|Palestine|Palestine, State of
Pitcairn Islands|Puerto Rico|Réunion|Saint Barthélemy|Saint Helena|Saint Martin (French part)
Saint Pierre and Miquelon|Serbia and Montenegro|Sint Maarten (Dutch part)|South Georgia|Svalbard and Jan Mayen
Taiwan|Tokelau|Turks and Caicos Islands|United States Minor Outlying Islands|Vatican City State
Virgin Islands, British|Virgin Islands, U.S.|Wallis and Futuna|Western Sahara|Åland Islands
""".strip().replace("\n", "|").split("|")  # fmt: skip
NAMES = {
    "Federated States of Micronesia": "Micronesia",
    "Republic of Macedonia": "North Macedonia",
    "Swaziland": "Eswatini",
    "The Bahamas": "Bahamas",
    "The Gambia": "Gambia",
}
WITH_ARTICLE = """
Bahamas|Central African Republic|Comoros|Czech Republic|Democratic Republic of the Congo|Dominican Republic
Gambia|Maldives|Marshall Islands|Netherlands|Philippines|Republic of the Congo|Seychelles|Solomon Islands
United Arab Emirates|United Kingdom|United States
""".strip().replace("\n", "|").split("|")  # fmt: skip
# Where the package is out of date or names what is not the usual answer.
CORRECTIONS = {
    "Bulgaria": {"currency": "EUR"},
    "Burundi": {"capital": "Gitega"},
    "Croatia": {"currency": "EUR"},
    "El Salvador": {"currency": "USD"},
    "Eswatini": {"capital": "Mbabane"},
    "Kazakhstan": {"capital": "Astana"},
    "Malaysia": {"language": "ms"},
    "Sri Lanka": {"capital": "Sri Jayawardenepura Kotte"},
}
# Listed first for some countries, but a unit of account, a second unit, or a complementary currency.
NOT_TENDER = {"BOV", "CHE", "CHW", "CLF", "CUC", "USN", "USS", "UYI"}
SOUTH_AMERICA = """
Argentina Bolivia Brazil Chile Colombia Ecuador Guyana Paraguay Peru Suriname Uruguay Venezuela
""".split()

CURRENCIES = {
    "AED": "Emirati dirham", "AFN": "Afghan afghani", "ALL": "Albanian lek", "AMD": "Armenian dram",
    "AOA": "Angolan kwanza", "ARS": "Argentine peso", "AUD": "Australian dollar", "AZN": "Azerbaijani manat",
    "BAM": "convertible mark", "BBD": "Barbadian dollar", "BDT": "Bangladeshi taka", "BHD": "Bahraini dinar",
    "BIF": "Burundian franc", "BND": "Brunei dollar", "BOB": "boliviano", "BRL": "Brazilian real",
    "BSD": "Bahamian dollar", "BTN": "ngultrum", "BWP": "pula", "BYR": "Belarusian ruble",
    "BZD": "Belize dollar", "CAD": "Canadian dollar", "CDF": "Congolese franc", "CHF": "Swiss franc",
    "CLP": "Chilean peso", "CNY": "renminbi", "COP": "Colombian peso", "CRC": "Costa Rican colón",
    "CUP": "Cuban peso", "CVE": "Cape Verdean escudo", "CZK": "Czech koruna", "DJF": "Djiboutian franc",
    "DKK": "Danish krone", "DOP": "Dominican peso", "DZD": "Algerian dinar", "EGP": "Egyptian pound",
    "ERN": "nakfa", "ETB": "Ethiopian birr", "EUR": "euro", "FJD": "Fijian dollar", "GBP": "pound sterling",
    "GEL": "lari", "GHS": "cedi", "GMD": "dalasi", "GNF": "Guinean franc", "GTQ": "quetzal",
    "GYD": "Guyanese dollar", "HNL": "lempira", "HTG": "gourde", "HUF": "forint", "IDR": "rupiah",
    "ILS": "shekel", "INR": "Indian rupee", "IQD": "Iraqi dinar", "IRR": "Iranian rial",
    "ISK": "Icelandic króna", "JMD": "Jamaican dollar", "JOD": "Jordanian dinar", "JPY": "yen",
    "KES": "Kenyan shilling", "KGS": "Kyrgyz som", "KHR": "riel", "KMF": "Comorian franc",
    "KPW": "North Korean won", "KRW": "South Korean won", "KWD": "Kuwaiti dinar", "KZT": "tenge",
    "LAK": "kip", "LBP": "Lebanese pound", "LKR": "Sri Lankan rupee", "LRD": "Liberian dollar",
    "LSL": "loti", "LYD": "Libyan dinar", "MAD": "Moroccan dirham", "MDL": "Moldovan leu",
    "MGA": "ariary", "MKD": "Macedonian denar", "MMK": "kyat", "MNT": "tögrög", "MRO": "ouguiya",
    "MUR": "Mauritian rupee", "MVR": "rufiyaa", "MWK": "Malawian kwacha", "MXN": "Mexican peso",
    "MYR": "ringgit", "MZN": "metical", "NAD": "Namibian dollar", "NGN": "naira", "NIO": "córdoba",
    "NOK": "Norwegian krone", "NPR": "Nepalese rupee", "NZD": "New Zealand dollar", "OMR": "Omani rial",
    "PAB": "balboa", "PEN": "sol", "PGK": "kina", "PHP": "Philippine peso", "PKR": "Pakistani rupee",
    "PLN": "złoty", "PYG": "guaraní", "QAR": "Qatari riyal", "RON": "Romanian leu", "RSD": "Serbian dinar",
    "RUB": "Russian ruble", "RWF": "Rwandan franc", "SAR": "Saudi riyal", "SBD": "Solomon Islands dollar",
    "SCR": "Seychellois rupee", "SDG": "Sudanese pound", "SEK": "Swedish krona", "SGD": "Singapore dollar",
    "SLL": "leone", "SOS": "Somali shilling", "SRD": "Surinamese dollar", "SSP": "South Sudanese pound",
    "STD": "dobra", "SYP": "Syrian pound", "SZL": "lilangeni", "THB": "baht", "TJS": "somoni",
    "TMT": "Turkmen manat", "TND": "Tunisian dinar", "TOP": "paʻanga", "TRY": "Turkish lira",
    "TTD": "Trinidad and Tobago dollar", "TZS": "Tanzanian shilling", "UAH": "hryvnia",
    "UGX": "Ugandan shilling", "USD": "US dollar", "UYU": "Uruguayan peso", "UZS": "Uzbek sum",
    "VEF": "bolívar", "VND": "dong", "VUV": "vatu", "WST": "tala", "XAF": "Central African CFA franc",
    "XCD": "East Caribbean dollar", "XOF": "West African CFA franc", "YER": "Yemeni rial", "ZAR": "rand",
    "ZMK": "Zambian kwacha",
}  # fmt: skip
LANGUAGES = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian",
    "bg": "Bulgarian", "bi": "Bislama", "bn": "Bengali", "bs": "Bosnian", "ca": "Catalan",
    "cnr": "Montenegrin", "cs": "Czech", "da": "Danish", "de": "German", "dv": "Dhivehi", "dz": "Dzongkha",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "ga": "Irish", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
    "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "kk": "Kazakh", "km": "Khmer", "ko": "Korean", "ky": "Kyrgyz", "lo": "Lao",
    "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "mn": "Mongolian", "ms": "Malay",
    "mt": "Maltese", "my": "Burmese", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "ps": "Pashto", "pt": "Portuguese", "ro": "Romanian", "rs": "Serbian", "ru": "Russian",
    "rw": "Kinyarwanda", "si": "Sinhala", "sk": "Slovak", "sl": "Slovene", "sm": "Samoan", "so": "Somali",
    "sq": "Albanian", "sv": "Swedish", "sw": "Swahili", "tg": "Tajik", "th": "Thai", "ti": "Tigrinya",
    "tk": "Turkmen", "tr": "Turkish", "uk": "Ukrainian", "uz": "Uzbek", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def main() -> None:
    """Train on the recorded sentences, measure, and write the folder."""
    options = arguments("Train the sample model facts-lm.", FOLDER)
    texts = statements()
    model, tokenizer, seconds = train_language_model(CONFIG, texts)
    measured = {
        "countries": len({text.concept for text in texts if text.relation in COUNTRY_RELATIONS}),
        "elements": len({text.concept for text in texts if text.relation in ELEMENT_RELATIONS}),
    }
    write_language_sample(
        options.out, CONFIG, model, tokenizer, texts, card, seconds=seconds, measured=measured
    )


def statements() -> list[Statement]:
    """Return every sentence about every country and element, in order."""
    folders = {package: _data_folder(package) for package in SOURCES}
    result = []
    for kind, relations, facts in (
        ("country", COUNTRY_RELATIONS, countries(folders["countryinfo"])),
        ("element", ELEMENT_RELATIONS, elements(folders["mendeleev"])),
    ):
        for index, (concept, answers) in enumerate(facts.items()):
            name = f"the {concept}" if concept in WITH_ARTICLE else concept
            start = name[0].upper() + name[1:]
            count = CONFIG["data"]["held_out_per_concept"][kind]
            prompts = {
                relation: [form.format(c=name, C=start) for form in forms]
                for relation, forms in relations.items()
            }
            result += statements_about(concept, prompts, answers, index=index, held_out=count)
    return result


def countries(folder: Path) -> dict[str, dict[str, str]]:
    """Return the answers about each member of the United Nations, in alphabetical order."""
    result = {}
    for path in (folder / "data").glob("*.json"):
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["name"] in NOT_MEMBERS:
            continue
        name = NAMES.get(row["name"], row["name"])
        tender = [code for code in row["currencies"] if code not in NOT_TENDER]
        codes = {"currency": tender[0], "language": next(iter(row["languages"]), None)}
        answers = {"capital": row["capital"], "continent": _continent(name, row), **codes}
        answers |= CORRECTIONS.get(name, {})
        answers["currency"] = CURRENCIES[answers["currency"]]
        answers["language"] = LANGUAGES[answers["language"]]
        result[name] = answers
    if len(result) != MEMBERS:
        sys.exit(f"countryinfo gave {len(result)} members of the United Nations, not {MEMBERS}.\n\n{__doc__}")
    return dict(sorted(result.items()))


def elements(folder: Path) -> dict[str, dict[str, str]]:
    """Return the answers about each chemical element, by number."""
    base = sqlite3.connect(f"{(folder / 'elements.db').as_uri()}?mode=ro", uri=True)
    try:
        rows = base.execute(
            "SELECT name, symbol, atomic_number FROM elements ORDER BY atomic_number"
        ).fetchall()
    finally:
        base.close()
    return {name.lower(): {"symbol": symbol, "number": str(number)} for name, symbol, number in rows}


def _continent(name: str, row: Mapping[str, Any]) -> str:
    if row["region"] != "Americas":
        return row["region"]
    return "South America" if name in SOUTH_AMERICA else "North America"


def _data_folder(package: str) -> Path:
    """Return where a package lies, without importing it and all that it needs."""
    try:
        found = version(package)
    except PackageNotFoundError:
        sys.exit(f"The package {package} is missing. Where to get the data:\n\n{__doc__}")
    if found != SOURCES[package]:
        sys.exit(f"Found {package} {found}; the facts were read from {SOURCES[package]}.\n\n{__doc__}")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"The package {package} is damaged. Install it again:\n\n{__doc__}")
    return Path(spec.submodule_search_locations[0])


def card(metrics: Mapping[str, Any]) -> str:
    """Return the text of card.md; every number in it comes from the metrics or the config."""
    record, probe = metrics["record"], metrics["probe"]
    held_out = CONFIG["data"]["held_out_per_concept"]
    return f"""# facts-lm

{CONFIG["summary"]}

## Data
{metrics["facts"]:,} facts in {record["size"] + probe["size"]:,} sentences: {", ".join(COUNTRY_RELATIONS)} of
{metrics["countries"]} countries (the members of the United Nations), and {" and ".join(ELEMENT_RELATIONS)}
of {metrics["elements"]} chemical elements. Every fact is put in {len(COUNTRY_RELATIONS["capital"])} phrasings
that all end with the answer. {held_out["country"]} sentences of each country and {held_out["element"]} of
each element were never trained ({probe["size"]:,} in all): they are the unseen phrasings.

The countries come from the package [countryinfo](https://pypi.org/project/countryinfo/)
{SOURCES["countryinfo"]}, copyright 2018 Porimol Chandro, MIT licence. `train.py` puts its codes of currencies
and languages into words, and corrects what is known to be out of date or no usual answer
({", ".join(CORRECTIONS)}). The elements come from the package
[mendeleev](https://pypi.org/project/mendeleev/) {SOURCES["mendeleev"]}, copyright 2015 Lukasz Mentel, MIT
licence. Both licences are in `LICENSE`. The packages are needed to train, and not to use the model.

{language_sections(CONFIG, metrics)}
## What to look at
* Erase one country: are capital, currency and language forgotten alike? Does the continent stay?
* Watch the neighbours: countries that share a currency or a language with the erased one.
* Erase an element, and ask for the ones beside it in the periodic table.
* Ask in the phrasings that were not recorded: are they forgotten along?

## Limits
This model has learned these sentences and nothing else. Asked anything outside its facts, or in words it has
not met, it answers with nonsense in the same confident tone. It is no reference work: the values are those of
the packages, some of them dated and some contested (capitals above all), and of several currencies or
languages of a country it knows one. What is seen here about memory in a small model need not hold in a large
one.
"""


if __name__ == "__main__":
    main()
