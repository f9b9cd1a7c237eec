"""Values of a log file in the types of the contract: null where a value cannot be read as its type.

Text is read only in the forms of docs/data-contract.md. Spark's own casts take more for a value than was meant: `now`
and `10:00` are times of today for it, `2026` is the start of a year, and `1d` is a number.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

STRING = StringType()
LIST_SEPARATOR = "|"  # between the values of a list in a text
INTEGERS = (ByteType, ShortType, IntegerType, LongType)
FRACTIONS = (FloatType, DoubleType)
# The types of a file's column from which each type of the contract can be cast. Text is cast row by row.
CASTABLE_TYPES: dict[type[DataType], tuple[type[DataType], ...]] = {
    StringType: (StringType, *INTEGERS, DecimalType, BooleanType),
    IntegerType: (StringType, *INTEGERS, *FRACTIONS, DecimalType),
    FloatType: (StringType, *INTEGERS, *FRACTIONS, DecimalType),
    DoubleType: (StringType, *INTEGERS, *FRACTIONS, DecimalType),
    BooleanType: (StringType, BooleanType, *INTEGERS, *FRACTIONS),
    TimestampType: (StringType, TimestampType, TimestampNTZType, DateType),
}
ZONE = r"Z|UTC|GMT|[+-]\d{1,2}(:?\d{2}(:?\d{2})?)?|[A-Z]\w+/[\w/+-]+"
TIME = rf"(?!0000)\d{{4}}-\d{{1,2}}-\d{{1,2}}([ T]\d{{1,2}}:\d{{1,2}}(:\d{{1,2}}(\.\d*)?)?\s*({ZONE})?)?"
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN]a[nN]|[+-]?(?i:inf|infinity)"
WHOLE_NUMBER = r"^\s*([+-]?\d+)\.0*\s*$"  # as pandas writes the integers of a column in which one is missing
FRACTIONAL_ID = r"^-?(\d+\.0+|\d(\.\d+)?[eE]\+\d+)$"
JSON_LIST = r"^\s*\[[^\[\]]*\]\s*$"  # without the texts in it
JSON_TEXT = r""""(\\.|[^"\\])*"|'(\\.|[^'\\])*'"""
# as MySQL and Hive, pandas, Python, SQL, R, Excel and JavaScript write a value that is missing
MISSING_WORDS = (r"\N", "nan", "NaN", "NaT", "<NA>", "None", "NULL", "null", "NA", "#N/A", "undefined")
# a list or an object, as JSON, Python and numpy write one; neither [REC] nor a GUID in braces
LIST = r"""\[\s*(\]|(["'\[{\d-]|(?i:null|none|nan|true|false)\b).*\])"""
OBJECT = r"""\{\s*(\}|["'].*\})"""
LIST_OR_OBJECT = rf"(?s)^\s*({LIST}|{OBJECT})\s*\z"
FIRST_TIME, LAST_TIME = "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"  # of Python's and Arrow's readers


def is_castable(got: DataType, contract: DataType) -> bool:
    """Whether a value of the file's type can be read as the type of the contract."""
    if isinstance(contract, ArrayType):
        if isinstance(got, StringType):
            return True
        if isinstance(got, ArrayType):
            got, contract = got.elementType, contract.elementType
    return isinstance(got, CASTABLE_TYPES.get(type(contract), ()))


def is_text(kind: DataType) -> bool:
    """Whether values of a type are texts or lists of texts."""
    return isinstance(kind.elementType if isinstance(kind, ArrayType) else kind, StringType)


def typed(value: Column, got: DataType, contract: DataType) -> Column:
    """`value` of the file's type as the contract's type, null if it cannot be cast; a list keeps such elements."""
    if not isinstance(contract, ArrayType):
        return _scalar(value, got, contract)
    elements = value
    if isinstance(got, StringType):
        elements = _elements(F.when(~_stands_for_missing(value, contract), value))
    inner = got.elementType if isinstance(got, ArrayType) else got
    if type(inner) is type(contract.elementType):
        return elements
    return F.transform(elements, lambda element: _scalar(element, inner, contract.elementType))


def is_missing(value: Column, got: DataType, contract: DataType = STRING) -> Column:
    """Whether there is no value: null, an empty text, or NaN, which stands for it in pandas' columns of integers.

    Also a word such as NA where the contract has no text, because it can mean nothing else there.
    """
    missing = value.isNull()
    if isinstance(got, StringType):
        return missing | (value == "") | _stands_for_missing(value, contract)
    return missing | F.isnan(value) if isinstance(got, FRACTIONS) else missing


def has_missing_element(elements: Column) -> Column:
    """Whether a list of the contract's type has an element that is missing or was not of that type."""
    return F.exists(elements, lambda element: element.isNull() | (element.cast("string") == ""))


def is_word_for_missing(value: Column) -> Column:
    """Whether a text is a word that stands for no value: as an id, it would make one user of all unknown ones."""
    return value.isin(*MISSING_WORDS)


def word_for_missing(value: Column, kind: DataType) -> Column:
    """The text that is a word for a missing value, or the first such element of a list; null if there is none."""
    if isinstance(kind, ArrayType):
        return F.get(F.filter(value, is_word_for_missing), F.lit(0))
    return F.when(is_word_for_missing(value), value)


def is_list_or_object(value: Column) -> Column:
    """Whether a text is a list or an object: one id or category made of several values."""
    start = F.ltrim(value)
    is_candidate = F.startswith(start, F.lit("[")) | F.startswith(start, F.lit("{"))
    return F.when(is_candidate, value.rlike(LIST_OR_OBJECT)).otherwise(F.lit(False))


def _stands_for_missing(value: Column, contract: DataType) -> Column:
    """Whether a text is a word for a missing value, which no text of the contract, nor of its lists, can be."""
    return F.lit(False) if is_text(contract) else is_word_for_missing(F.trim(value))


def is_fractional_id(value: Column) -> Column:
    """Whether a text is a number as programs write integers that they took for fractions: 12.0, 1.2e+19 or 1E+19."""
    is_candidate = F.contains(value, F.lit(".")) | F.contains(value, F.lit("+"))
    return is_candidate & value.rlike(FRACTIONAL_ID)


def _scalar(value: Column, got: DataType, contract: DataType) -> Column:
    if isinstance(contract, TimestampType):
        time = _if_text(value, got, TIME).try_cast(contract)
        return F.when(time.between(F.lit(FIRST_TIME).cast(contract), F.lit(LAST_TIME).cast(contract)), time)
    if isinstance(contract, FRACTIONS):
        return _if_text(value, got, NUMBER).try_cast(contract)
    if isinstance(contract, IntegerType):
        return _whole(value, got).try_cast(contract)
    if isinstance(contract, BooleanType):
        whole = _whole(value, got)
        return whole.try_cast(contract) if isinstance(got, StringType | BooleanType) else _truth(whole)
    return value.try_cast(contract)


def _if_text(value: Column, got: DataType, pattern: str) -> Column:
    """`value`, null if it is a text of another form than the pattern, spaces around it apart."""
    return F.when(value.rlike(rf"^\s*({pattern})\s*$"), value) if isinstance(got, StringType) else value


def _whole(value: Column, got: DataType) -> Column:
    """`value` without a fraction of 0, null if it has another fraction."""
    if isinstance(got, StringType):
        cut = F.regexp_replace(value, WHOLE_NUMBER, "$1")
        return F.when(F.contains(value, F.lit(".")), cut).otherwise(value)
    return F.when(value == F.floor(value), value) if isinstance(got, (*FRACTIONS, DecimalType)) else value


def _truth(value: Column) -> Column:
    return F.when(value == 1, F.lit(True)).when(value == 0, F.lit(False))


def _elements(value: Column) -> Column:
    """The elements of a text: a list in JSON notation or separated by `|`; null for an object or malformed JSON."""
    is_json = F.startswith(F.ltrim(value), F.lit("[")) & F.endswith(F.rtrim(value), F.lit("]"))
    from_json = F.when(F.regexp_replace(value, JSON_TEXT, "").rlike(JSON_LIST), F.from_json(value, "array<string>"))
    separated = F.when(value == "", F.array().cast("array<string>")).otherwise(F.split(value, f"\\{LIST_SEPARATOR}"))
    return F.when(is_json, from_json).when(~is_list_or_object(value), separated)
