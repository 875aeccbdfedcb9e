"""Texts for comparison: one key says who a record belongs to, another one finds it.

The *identity key* folds what a person cannot tell apart on paper: case, width, kinds of hyphens and digits, invisible
characters, letters of other scripts with the same shape. The *search key* folds much more, because a search may find
too many: marks, strokes, apostrophes, variants of Arabic letters. Nothing here touches a database.
"""

import re
import unicodedata
from functools import lru_cache

LONGEST_SEARCH_KEY = 900
# Drawn as nothing, or as a gap, although Unicode files them under letters, marks and symbols.
_INVISIBLE_RANGES = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp"})
# No character at all, one that means nothing outside of one program, or the trace of a wrong decoding.
_MEANINGLESS_CATEGORIES = frozenset({"Cs", "Co", "Cn"})
_REPLACEMENT = "\ufffd"
# Zero-width (non-)joiners belong to the spelling of Persian and Indic names, the marks to right-to-left texts.
_WELCOME_IN_NAMES = frozenset("\u200c\u200d\u200e\u200f\u061c")
# Minus signs, hyphen bullets, and what a Japanese keyboard types for a hyphen; all dashes (Pd) are added by category.
_HYPHENS = frozenset("\u2212\u2043\u02d7\u2796\u2500\u23af\u30fc")
_SLASHES = frozenset("\u2044\u2215\u29f8\u2571")
_APOSTROPHES = frozenset("'`\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ca\u02cb\u055a\u05f3\u05f4")
_APOSTROPHES |= frozenset("\u2018\u2019\u201a\u201b\u2032\u2035\ua78c\uff07\u07f4\u07f5")
_TATWEEL = "\u0640"
# Letters whose capital or small form is drawn like a Latin one. No two Cyrillic or Greek letters become the same, so
# nobody who numbers in one script loses anything.
_LOOK_ALIKES = str.maketrans(
    dict(zip("авекмнорстухіјѕԛԝӏ", "abekmhopctyxijsqwl", strict=True))
    | dict(zip("αβεζηικμνορτυχϳ", "abezhikmnoptyxj", strict=True))
    # Armenian; Latin letters of phonetic alphabets; Persian letters for Arabic ones.
    | {"\u0578": "n", "\u0585": "o", "\u057d": "u", "\u0131": "i", "\u0237": "j", "\u0251": "a", "\u0261": "g"}
    | {"\u06cc": "\u064a", "\u0649": "\u064a", "\u06a9": "\u0643"}
)
_SEARCH_ALIKE = str.maketrans(
    {
        "\u00e6": "ae",
        "\u0153": "oe",
        "\u00f0": "d",
        "\u00fe": "th",
        "\u0131": "i",
        "\u0237": "j",
        "\u014b": "n",
        "\u0259": "e",
        "\u0138": "k",
        # Ukrainian ye, for keyboards without it.
        "\u0454": "\u0435",
        # Arabic: alef wasla, alef maksura, teh marbuta, Persian yeh and kaf, the kinds of heh, hamza.
        "\u0671": "\u0627",
        "\u0649": "\u064a",
        "\u06cc": "\u064a",
        "\u06d2": "\u064a",
        "\u06a9": "\u0643",
        "\u06aa": "\u0643",
        "\u0629": "\u0647",
        "\u06c1": "\u0647",
        "\u06be": "\u0647",
        "\u06c3": "\u0647",
        "\u06d5": "\u0647",
        "\u0621": None,
        # Hebrew letters at the end of a word.
        "\u05da": "\u05db",
        "\u05dd": "\u05de",
        "\u05df": "\u05e0",
        "\u05e3": "\u05e4",
        "\u05e5": "\u05e6",
    }
)
_SEPARATORS = re.compile(r"[,;\u060c\u061b\u3001\uff0c]+")
_WITH_ADDITION = re.compile(r"((?:LATIN|CYRILLIC|ARABIC) (?:SMALL )?LETTER [A-Z ]+?) WITH .+")


def folded(text: str) -> str:
    """Return ``text`` with width and case folded (NFKC) and single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def identity_key(text: str) -> str:
    """Return what two identifiers have in common when they look the same.

    Args:
        text: An MRN, or a DICOM PatientID.

    Returns:
        Never empty unless ``text`` is blank. Equal texts under :func:`folded` have equal keys.
    """
    plain = folded(text)
    visible = "".join(_ascii_form(character) for character in plain if not is_invisible(character))
    key = " ".join(unicodedata.normalize("NFKC", visible).translate(_LOOK_ALIKES).split())
    # A text of invisible characters alone keeps them, so that it is not the empty identifier.
    return key or plain


def search_key(text: str) -> str:
    """Return ``text`` as a search compares it: words without marks, strokes, apostrophes and variants of letters."""
    spaced = _SEPARATORS.sub(" ", "".join(character for character in text if character not in _APOSTROPHES))
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", spaced).casefold())
    letters = "".join(_search_form(character) for character in decomposed)
    return " ".join(unicodedata.normalize("NFC", letters.translate(_SEARCH_ALIKE)).split())


def search_words(text: str) -> list[str]:
    """Return the words of a query, each in the form of :func:`search_key`.

    Names of two parts are found with a hyphen or without; in a word with digits the hyphen stays.
    """
    words: list[str] = []
    for word in search_key(text).split():
        is_number = any(character.isdigit() for character in word)
        words += [word] if is_number else [part for part in word.split("-") if part]
    return words


def patient_search_key(family_name: str, given_name: str, *, mrn: str) -> str:
    """Return what searches for a patient look through: both names and the MRN, as it is written and as it looks."""
    written = search_key(f"{family_name} {given_name} {mrn}")
    looks = identity_key(mrn)
    return (written if looks in written else f"{written} {looks}")[:LONGEST_SEARCH_KEY]


def is_invisible(character: str) -> bool:
    """Whether nothing of a character is seen, except for the space that some of them leave."""
    if unicodedata.category(character) in _INVISIBLE_CATEGORIES:
        return True
    return any(low <= ord(character) <= high for low, high in _INVISIBLE_RANGES)


def is_fit_for_identifiers(text: str) -> bool:
    """Whether every character can be seen, and means the same to everybody."""
    return not any(
        is_invisible(character)
        or character == _REPLACEMENT
        or unicodedata.category(character) in _MEANINGLESS_CATEGORIES
        for character in text
    )


def is_fit_for_names(text: str) -> bool:
    """Whether a name holds no control or formatting characters beyond those that spelling needs.

    Characters for private use stay: some registers write rare names with them. So do unassigned ones, which may be
    younger than this Python.
    """
    return not any(
        character not in _WELCOME_IN_NAMES
        and (
            unicodedata.category(character) in _INVISIBLE_CATEGORIES | {"Cs"}
            or ord(character) & 0xFFFE == 0xFFFE
            or 0xFDD0 <= ord(character) <= 0xFDEF
        )
        for character in text
    )


def is_blank(text: str) -> bool:
    """Whether nothing of a text is seen."""
    return all(character.isspace() or is_invisible(character) for character in text)


@lru_cache(maxsize=4096)
def _ascii_form(character: str) -> str:
    if character in _HYPHENS or unicodedata.category(character) == "Pd":
        return "-"
    if character in _SLASHES:
        return "/"
    if character in _APOSTROPHES:
        return "'"
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


@lru_cache(maxsize=4096)
def _search_form(character: str) -> str:
    if unicodedata.category(character) in {"Mn", "Me"} or character in _APOSTROPHES or character == _TATWEEL:
        return ""
    if is_invisible(character):
        # A control character between two words, such as a tab, separates them.
        return " " if character.isspace() else ""
    name = _WITH_ADDITION.fullmatch(unicodedata.name(character, ""))
    base = _letter_named(name.group(1)) if name else None
    return base or _ascii_form(character)


def _letter_named(name: str) -> str | None:
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return None
