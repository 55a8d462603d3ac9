# The readable form of what happened in one scenario, independent of run and machine. Everything that may differ between
# two runs against the same broker is replaced here, and nowhere else. Knows no socket.

import contextlib
import hashlib
import re
import time

from . import wire

LINE_WIDTH = 110
# A body longer than this is shown by size and digest.
BODY_SHOWN_MAX = 80
# The broker made timestamps that are this close to now during the run.
NOW_SLACK_S = 3600

_GENERATED = re.compile(
    r"amq\.(?:gen|ctag)-[A-Za-z0-9_-]{22}"
    r"|(?<=amq\.rabbitmq\.reply-to\.)[A-Za-z0-9_./+=-]{20,}")
_NODE = re.compile(r"\b(?:[a-z]+[0-9]*@localhost|leveret@[A-Za-z0-9_-]+)\b")
_CONNECTION = re.compile(r"127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+")


class Transcript:
    """The lines of one scenario in order, normalised as they are written."""

    def __init__(self, prefix):
        self.lines = []
        self._prefix = prefix
        self._generated = {}

    def text(self):
        return "".join(line + "\n" for line in self.lines)

    @contextlib.contextmanager
    def unlogged(self):
        """Drops the lines of the body. If the body ends with an exception they stay, to show where."""
        kept = self.lines[:]
        yield
        self.lines[:] = kept

    def note(self, label, text):
        """A socket event, a check's result or anything else that is not a method."""
        self.lines.append(f"{label:5} {self._clean(text)}".rstrip())

    def sent(self, label, method):
        self._method(label, ">", method, only_set=True)

    def received(self, label, method):
        self._method(label, "<", method, only_set=False)

    def _method(self, label, arrow, method, only_set):
        items = []
        for field, kind in wire.BY_NAME[method.name].fields:
            value = method.fields.get(field, wire.DEFAULTS.get(kind, 0))
            if only_set and not value:
                continue
            if field == "server-properties":
                value = _without_versions(value)
            if field == "mechanisms":
                value = " ".join(sorted(value.split()))
            items.append((field, value))
        self._items(f"{label:5} {arrow} {method.name}", items)
        if method.content is not None:
            for name, _ in wire.PROPERTIES:
                if name in method.content.properties:
                    self._items("         ", [(name, _with_queues_sorted(method.content.properties[name]))])
            self.lines.append(f"          body={self._body(method.content.body)}")

    def _items(self, head, items):
        line = head
        for field, value in items:
            shown = f"{field}={self.value(value)}"
            if len(line) + len(shown) < LINE_WIDTH or not isinstance(value, (dict, wire.Typed)):
                line += " " + shown
                continue
            self.lines.append(line + f" {field}=" + "{")
            self._block(value, 12)
            line = "          }"
        self.lines.append(line.rstrip())

    def _block(self, fields, indent):
        """A table too wide for one line: one key per line, nested tables indented."""
        pad = " " * indent
        for key in sorted(fields):
            value = fields[key]
            shown = f"{pad}{self._quote(key)}: {self.value(value)}"
            if len(shown) < LINE_WIDTH or not isinstance(value, wire.Typed) or value.type not in "FA":
                self.lines.append(shown)
            elif value.type == "F":
                self.lines.append(f"{pad}{self._quote(key)}: " + "{")
                self._block(value.value, indent + 2)
                self.lines.append(pad + "}")
            else:
                self.lines.append(f"{pad}{self._quote(key)}: [")
                for item in value.value:
                    self._array_item(item, indent + 2)
                self.lines.append(pad + "]")

    def _array_item(self, item, indent):
        pad = " " * indent
        if isinstance(item, wire.Typed) and item.type == "F":
            self.lines.append(pad + "{")
            self._block(item.value, indent + 2)
            self.lines.append(pad + "}")
        else:
            self.lines.append(pad + self.value(item))

    def value(self, value):
        """One field or table value; strings are bare, other table types carry their type octet."""
        if isinstance(value, wire.Raw):
            return "raw:" + value.data.hex()
        if isinstance(value, dict):
            inner = ", ".join(f"{self._quote(k)}: {self.value(value[k])}" for k in sorted(value))
            return "{" + inner + "}"
        if isinstance(value, (list, tuple)) and not isinstance(value, wire.Typed):
            return "[" + ", ".join(self.value(item) for item in value) + "]"
        if isinstance(value, wire.Typed):
            return self._typed(value)
        if value is None:
            return "void"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (str, bytes)):
            return self._quote(value)
        return str(value)

    def _typed(self, value):
        kind, data = value
        if kind in "StFA":
            return self.value(data)
        if kind == "V":
            return "void"
        if kind == "x":
            return "x:" + bytes(data).hex()
        if kind == "T" and abs(data - time.time()) < NOW_SLACK_S:
            return "T:<now>"
        if kind == "D":
            return f"D:{data[1]}e-{data[0]}"
        return f"{kind}:{data}"

    def _quote(self, text):
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        out = []
        for char in self._clean(text):
            code = ord(char)
            if char in '"\\':
                out.append("\\" + char)
            elif code < 32 or code == 127:
                out.append(f"\\x{code:02x}")
            elif 0xDC80 <= code <= 0xDCFF:
                out.append(f"\\x{code - 0xDC00:02x}")
            else:
                out.append(char)
        return '"' + "".join(out) + '"'

    def _body(self, body):
        if len(body) > BODY_SHOWN_MAX:
            return f"<{len(body)} octets, sha256 {hashlib.sha256(body).hexdigest()[:12]}>"
        return self._quote(body)

    def _clean(self, text):
        text = _NODE.sub("<node>", text.replace(self._prefix, "~"))
        text = _CONNECTION.sub(self._number, text)
        return _GENERATED.sub(self._number, text)

    def _number(self, match):
        """Generated names become <1>, <2>, ... in order of appearance, so that equality still shows."""
        found = match.group()
        number = self._generated.setdefault(found, len(self._generated) + 1)
        head = found[:found.index("-") + 1] if found.startswith("amq.") else ""
        return f"{head}<{number}>"


def _with_queues_sorted(value):
    """The firehose names the queues of a message in no order."""
    queues = value.get("routed_queues") if isinstance(value, dict) else None
    if not isinstance(queues, wire.Typed) or queues.type != "A":
        return value
    return {**value, "routed_queues": wire.Typed("A", sorted(queues.value))}


def _without_versions(properties):
    """Product, version and the like may differ, but must be strings."""
    return {key: wire.Typed("S", "<string>") if value.type == "S" else value
            for key, value in properties.items()}
