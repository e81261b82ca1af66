"""What a terminal shows: the escape sequences that the agent programs use, applied to a grid of characters."""

import re
import unicodedata

_TOKENS = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # a title, a link or a question for a color
    r"|\x1b[P_^X][^\x1b]*\x1b\\"
    r"|\x1b\[([0-9;:<=>?]*)[ -/]*([@-~])"
    r"|\x1b[ -/]*([0-~])"
    r"|([\x00-\x1f\x7f])"
    r"|([^\x00-\x1f\x7f])"
)
# The start of a sequence whose end has not arrived.
_UNFINISHED = re.compile(r"\x1b(?:\[[0-9;:<=>?]*[ -/]*|[\]P_^X][^\x07\x1b]*\x1b?|[ -/]*)$")


class Screen:
    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.rest = ""
        self.saved = (0, 0)
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.columns for _ in range(self.rows)]
        self.row = self.column = 0
        self.top, self.bottom = 0, self.rows - 1

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.cells)

    def feed(self, text):
        text = self.rest + text
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self.rest = text[end:]
        for token in _TOKENS.finditer(text, 0, end):
            parameters, final, escape, control, character = token.groups()
            if character:
                self._put(character)
            elif control:
                self._control(control)
            elif final:
                self._sequence(parameters, final)
            elif escape:
                self._escape(escape)

    def _put(self, character):
        if unicodedata.combining(character):
            return
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self.column + width > self.columns:
            self.column = 0
            self._line_feed()
        self.cells[self.row][self.column] = character
        if width == 2:
            self.cells[self.row][self.column + 1] = ""
        self.column += width

    def _control(self, control):
        if control == "\r":
            self.column = 0
        elif control == "\n":
            self._line_feed()
        elif control == "\b":
            self.column = max(0, self.column - 1)
        elif control == "\t":
            self.column = min(self.columns - 1, self.column // 8 * 8 + 8)

    def _escape(self, final):
        if final == "7":
            self.saved = (self.row, self.column)
        elif final == "8":
            self.row, self.column = self.saved
        elif final == "M":
            if self.row == self.top:
                self._scroll(self.top, -1)
            else:
                self.row = max(0, self.row - 1)

    def _sequence(self, parameters, final):
        if parameters[:1] in "<=>?" and parameters:
            if parameters in ("?1049", "?1047", "?47"):
                self.clear()
            return
        numbers = [int(part) if part.isdigit() else 0 for part in parameters.replace(":", ";").split(";")]
        first = numbers[0]
        count = max(1, first)
        line = self.cells[self.row]
        if final in "AF":
            self.row = max(0, self.row - count)
        elif final in "BE":
            self.row = min(self.rows - 1, self.row + count)
        elif final == "C":
            self.column = min(self.columns - 1, self.column + count)
        elif final == "D":
            self.column = max(0, self.column - count)
        elif final == "G":
            self.column = min(self.columns, count) - 1
        elif final == "d":
            self.row = min(self.rows, count) - 1
        elif final in "Hf":
            second = numbers[1] if len(numbers) > 1 else 1
            self.row = min(self.rows, count) - 1
            self.column = min(self.columns, max(1, second)) - 1
        elif final == "J":
            self._erase_lines(first)
        elif final == "K":
            begin, end = {0: (self.column, self.columns), 1: (0, self.column + 1)}.get(first, (0, self.columns))
            line[begin:end] = [" "] * (end - begin)
        elif final == "X":
            end = min(self.columns, self.column + count)
            line[self.column : end] = [" "] * (end - self.column)
        elif final == "P":
            del line[self.column : self.column + count]
            line.extend([" "] * (self.columns - len(line)))
        elif final == "@":
            line[self.column : self.column] = [" "] * count
            del line[self.columns :]
        elif final in "LM":
            self._scroll(self.row, -count if final == "L" else count)
        elif final in "ST":
            self._scroll(self.top, count if final == "S" else -count)
        elif final == "r":
            last = numbers[1] if len(numbers) > 1 and numbers[1] else self.rows
            self.top, self.bottom = count - 1, min(self.rows, last) - 1
            self.row = self.column = 0
        if final in "EF":
            self.column = 0

    def _erase_lines(self, part):
        empty = [" "] * self.columns
        if part == 0:
            self.cells[self.row][self.column :] = [" "] * (self.columns - self.column)
            below = range(self.row + 1, self.rows)
        elif part == 1:
            self.cells[self.row][: self.column + 1] = [" "] * (self.column + 1)
            below = range(self.row)
        else:
            below = range(self.rows)
        for row in below:
            self.cells[row] = list(empty)

    def _line_feed(self):
        if self.row == self.bottom:
            self._scroll(self.top, 1)
        else:
            self.row = min(self.rows - 1, self.row + 1)

    def _scroll(self, top, count):
        """Moves the lines from `top` to the end of the region up, or down if `count` is negative."""
        region = self.cells[top : self.bottom + 1]
        height = len(region)
        empty = [[" "] * self.columns for _ in range(min(abs(count), height))]
        moved = region[count:] + empty if count > 0 else empty + region[: height + count]
        self.cells[top : self.bottom + 1] = moved[:height] if count > 0 else moved[:height]
