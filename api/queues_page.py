"""`/docs/queues`: the AsyncAPI document as one page for people, without scripts."""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

Schema = dict[str, Any]

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/queues.css">
</head>
<body>
<nav>
{nav}
</nav>
<main>
{main}
</main>
</body>
</html>
"""

_ELSEWHERE: Final = """\
<p>For tools: <a href="/docs/queues/asyncapi.json">asyncapi.json</a>. \
The HTTP API: <a href="/docs">/docs</a>.</p>"""

_TITLES: Final = {"inbox": "What you publish", "outbox": "What you read"}


def page(document: Schema) -> str:
    """The whole page, with everything it says taken from the document."""
    channels, schemas = document["channels"], document["components"]["schemas"]
    info, server = document["info"], document["servers"]["broker"]
    address = f"{server['protocol']}://partner.acme:…@{server['host']}{server['pathname']}"
    main = [
        f"<h1>{escape(info['title'])}</h1>",
        _prose(info["description"]),
        f"<pre>{escape(address)}</pre>",
        _ELSEWHERE,
        *(_channel(document, name) for name in channels),
        '<h2 id="schemas">Schemas</h2>',
        *(_schema(name, schema) for name, schema in schemas.items()),
    ]
    groups = [_links(_TITLES[name], channel["messages"]) for name, channel in channels.items()]
    nav = [*groups, _links("Schemas", schemas, "schema-")]
    return _PAGE.format(title=escape(info["title"]), nav="\n".join(nav), main="\n".join(main))


def _links(title: str, names: Iterable[str], prefix: str = "") -> str:
    items = (f'<li><a href="#{prefix}{escape(name)}">{escape(name)}</a></li>' for name in names)
    return f"<p>{escape(title)}</p>\n<ul>\n{''.join(items)}\n</ul>"


def _channel(document: Schema, name: str) -> str:
    channel, components = document["channels"][name], document["components"]
    parts = [
        f'<h2 id="{name}">{_TITLES[name]}</h2>',
        f"<p>{'Exchange' if name == 'inbox' else 'Queue'} {_code(channel['address'])}</p>",
        _prose(channel["description"]),
        *(_message(components["messages"][each], components) for each in channel["messages"]),
    ]
    return "\n".join(parts)


def _message(message: Schema, components: Schema) -> str:
    name = message["name"]
    example = json.dumps(message["examples"][0]["payload"], indent=2, ensure_ascii=False)
    data = message["payload"]["properties"]["data"]
    schema = components["schemas"][data["$ref"].rsplit("/", 1)[1]]
    return "\n".join(
        [
            f'<article id="{escape(name)}">',
            f"<h3>{_code(name)}</h3>",
            _prose(message["summary"]),
            f"<pre>{escape(example)}</pre>",
            f"<details><summary>Fields of {_code('data')}: {_kind(data)}</summary>",
            _fields(schema),
            "</details>",
            "</article>",
        ]
    )


def _schema(name: str, schema: Schema) -> str:
    shown = _fields(schema) if "properties" in schema else f"<p>{_kind(schema)}</p>"
    told = _prose(schema.get("description", ""))
    heading = f"<h3>{escape(name)}</h3>"
    return f'<article id="schema-{escape(name)}">\n{heading}\n{told}\n{shown}\n</article>'


def _fields(schema: Schema) -> str:
    rows = [
        (
            _code(name) + ("" if name in schema.get("required", ()) else "?"),
            _kind(field),
            _marked(field.get("description", "")),
        )
        for name, field in schema["properties"].items()
    ]
    return _table(rows)


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>\n<tr><th>field</th><th>is</th><th></th></tr>\n{lines}\n</table>"


def _kind(schema: Schema) -> str:
    """What a value has to be, in a few words."""
    match schema:
        case {"$ref": reference}:
            name = escape(reference.rsplit("/", 1)[1])
            return f'<a href="#schema-{name}">{name}</a>'
        case {"anyOf": choices}:
            return " or ".join(map(_kind, choices))
        case {"const": value}:
            return _code(str(value))
        case {"enum": values}:
            return ", ".join(map(_code, values))
        case {"type": "array", "items": items}:
            return f"list of {_kind(items)}" + _bounds(schema, "minItems", "maxItems")
        case {"type": "object"}:
            return "object" + _bounds(schema, "minProperties", "maxProperties")
        case {"type": "string", "format": kind}:
            return escape(kind)
        case {"type": "string"}:
            shown = f" like {_code(schema['pattern'])}" if "pattern" in schema else ""
            return "text" + _bounds(schema, "minLength", "maxLength") + shown
        case {"type": kind}:
            return escape(kind) + _bounds(schema, "minimum", "maximum")
    return "anything"


def _bounds(schema: Schema, least: str, most: str) -> str:
    match schema.get(least), schema.get(most):
        case None, None:
            return ""
        case low, None:
            return f", at least {low:,}"
        case None, high:
            return f", at most {high:,}"
        case low, high:
            return f", {low:,} to {high:,}"
    raise AssertionError  # A pair is one of these.


def _prose(text: str) -> str:
    """Paragraphs, and words between backticks."""
    return "\n".join(f"<p>{_marked(part)}</p>" for part in text.split("\n\n") if part)


def _marked(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
