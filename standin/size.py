"""What DynamoDB counts as an item's size, in bytes.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from decimal import Decimal

from standin.history import AttributeValue, Item


def image_size(image: Item) -> int:
    """The size of an item or of key attributes: names in UTF-8 and values."""
    return sum(attribute_size(name, value) for name, value in image.items())


def attribute_size(name: str, value: AttributeValue) -> int:
    """The size of one attribute with its name."""
    return _text_size(name) + _value_size(value)


def _value_size(value: AttributeValue) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return _text_size(content)
        case "N":
            return _number_size(content)
        case "B":
            return _binary_size(content)
        case "BOOL" | "NULL":
            return 1
        case "SS":
            return sum(map(_text_size, content))
        case "NS":
            return sum(map(_number_size, content))
        case "BS":
            return sum(map(_binary_size, content))
        case "L":
            return 3 + sum(1 + _value_size(member) for member in content)
        case "M":
            return 3 + len(content) + image_size(content)
    raise ValueError(f"{value!r} is no DynamoDB JSON value")


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _number_size(text: str) -> int:
    """About one byte for two significant digits, one more for all and one for a sign."""
    digits = text if text.isdecimal() else "".join(map(str, Decimal(text).as_tuple().digits))
    return (len(digits.strip("0")) + 1) // 2 + 1 + text.startswith("-")


def _binary_size(encoded: str) -> int:
    return len(encoded) * 3 // 4 - encoded.endswith("=") - encoded.endswith("==")
