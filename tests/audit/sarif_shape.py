"""What SARIF 2.1.0 (OASIS standard, March 2020) says of the parts that our reports use.

Property names and value sets are those of the standard's sections named beside them; in its
schema every object refuses properties that it does not know.
"""


def _object(required, properties):
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
LEVEL = {"enum": ["none", "note", "warning", "error"]}  # 3.27.10
MESSAGE = _object(["text"], {"text": TEXT})  # 3.11, 3.12
REGION = _object(["startLine"], {"startLine": {"type": "integer", "minimum": 1}})  # 3.30.5
# 3.4.3: a URI reference (RFC 3986); no blank, no backslash.
URI = {"type": "string", "pattern": r"^([a-z]+:///)?[A-Za-z0-9._~%/+,:@!&'()*;=-]+$"}
PHYSICAL = _object(
    ["artifactLocation"],
    {"artifactLocation": _object(["uri"], {"uri": URI}), "region": REGION},
)  # 3.29
LOGICAL = _object([], {"fullyQualifiedName": TEXT, "kind": TEXT})  # 3.33
LOCATION = _object(
    [], {"physicalLocation": PHYSICAL, "logicalLocations": {"type": "array", "items": LOGICAL}}
)  # 3.28
SUPPRESSION = _object(
    ["kind"], {"kind": {"enum": ["inSource", "external"]}, "justification": TEXT}
)  # 3.35
RESULT = _object(
    ["message"],
    {
        "ruleId": TEXT,
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": LEVEL,
        "message": MESSAGE,
        "locations": {"type": "array", "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": TEXT},
        "suppressions": {"type": "array", "items": SUPPRESSION, "uniqueItems": True},
    },
)  # 3.27
RULE = _object(
    ["id"],
    {
        "id": TEXT,
        "shortDescription": MESSAGE,
        "fullDescription": MESSAGE,
        "help": MESSAGE,
        "defaultConfiguration": _object([], {"level": LEVEL}),
    },
)  # 3.49
DRIVER = _object(
    ["name"],
    {
        "name": TEXT,
        "version": TEXT,
        "rules": {"type": "array", "items": RULE, "uniqueItems": True},
    },
)  # 3.19
RUN = _object(
    ["tool"],
    {
        "tool": _object(["driver"], {"driver": DRIVER}),
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        "results": {"type": "array", "items": RESULT},
    },
)  # 3.14
LOG = _object(
    ["version", "runs"],
    {
        "$schema": {"type": "string", "pattern": "^https://"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": RUN, "minItems": 1},
    },
)  # 3.13
