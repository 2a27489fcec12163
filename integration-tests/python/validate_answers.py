"""Compares answers of an HTTP API with its OpenAPI description.

Usage: validate_answers.py DESCRIPTION ANSWERS. ANSWERS holds one JSON object a line:
{"path", "method", "status", "type", "body"}, path and method as the description has them. Prints one line a fault:
{"answer": NUMBER OF THE LINE, "at": WHERE, "why": TEXT}. WHERE is a path within the body, with * for a position in a
list, or "status", "type" or "body" where the answer as a whole is not described.
"""

import json
import re
import sys

import jsonschema
import referencing
import referencing.jsonschema
import yaml

DESCRIPTION = "urn:description"
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

formats = jsonschema.FormatChecker(formats=())


@formats.checks("date-time")
def is_date_time(value):
    return not isinstance(value, str) or DATE_TIME.fullmatch(value) is not None


def pointer(parts):
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def innermost(error):
    """Of the alternatives that do not fit, the one that fits furthest: it says the most."""
    while error.context:
        alternatives = {}
        for one in error.context:
            alternatives.setdefault(one.schema_path[0], []).append(one)
        named = [
            errors for errors in alternatives.values()
            # Another kind of result, or another type altogether, is not what was meant.
            if not any(e.validator in ("enum", "type") and len(e.relative_path) <= 1 for e in errors)
        ]
        if not named:
            break
        error = min(named, key=len)[0]
    return error


def faults(description, registry, answer):
    described = description["paths"][answer["path"]][answer["method"]]["responses"]
    status = str(answer["status"])
    response = described.get(status)
    if response is None:
        if answer["status"] < 400:
            yield "status", f"no answer {status} is described"
            return
        status, response = "default", described["default"]
    if "content" not in response:
        if answer["body"]:
            yield "body", "no body is described"
        return
    kind = answer["type"].split(";")[0]
    if kind not in response["content"]:
        yield "type", f"no content of this type is described: {answer['type']}"
        return
    place = ["paths", answer["path"], answer["method"], "responses", status, "content", kind, "schema"]
    schema = {"$ref": f"{DESCRIPTION}#{pointer(place)}"}
    validator = jsonschema.Draft202012Validator(schema, registry=registry, format_checker=formats)
    try:
        body = json.loads(answer["body"])
    except ValueError as error:
        yield "body", f"not JSON: {error}"
        return
    for error in validator.iter_errors(body):
        error = innermost(error)
        at = pointer("*" if isinstance(part, int) else part for part in error.absolute_path)
        yield at or "/", error.message[:300]


def main(file, answers):
    with open(file, "rb") as description:
        description = yaml.load(description, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    resource = referencing.jsonschema.DRAFT202012.create_resource(description)
    registry = referencing.Registry().with_resource(DESCRIPTION, resource)
    with open(answers, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            for at, why in faults(description, registry, json.loads(line)):
                print(json.dumps({"answer": number, "at": at, "why": why}))


main(*sys.argv[1:])
