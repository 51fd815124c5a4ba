import { describe, expect, test } from "vitest";
import { csvRows, wholeLines } from "./csv";
import { textOf } from "./head";
import { indented } from "./json";
import { isBinary, pictureType, previewKind } from "./kind";
import { patchLines, summaryOf } from "./patch";

describe("the kind of a file", () => {
  test.each([
    ["notes.txt", "text"],
    ["report.HTML", "text"],
    ["metrics.json", "json"],
    ["data/head.csv", "csv"],
    ["plots/cm.png", "image"],
    ["photo.JPEG", "image"],
    ["source/changes.patch", "patch"],
    ["logo.svg", "none"],
    ["model/model.joblib", "none"],
    ["folder.txt/binary", "none"],
    [".png", "none"],
    ["README", "text"],
  ])("%s is %s", (path, kind) => {
    expect(previewKind(path)).toBe(kind);
  });

  test("a picture is one by its bytes, whatever its name", () => {
    expect(pictureType(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0))).toBe("image/png");
    expect(pictureType(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0))).toBe("image/jpeg");
    expect(pictureType(new TextEncoder().encode("<svg onload=alert(1)>"))).toBeNull();
  });

  test("bytes with a NUL are no text", () => {
    expect(isBinary(Uint8Array.of(97, 0, 98))).toBe(true);
    expect(isBinary(new TextEncoder().encode("plain"))).toBe(false);
  });
});

describe("separated text", () => {
  test("quotes hold separators, line ends and quotes", () => {
    expect(csvRows('a,"b,""c""\nd",e\r\n1,,3', ",", 10)).toEqual([
      ["a", 'b,"c"\nd', "e"],
      ["1", "", "3"],
    ]);
  });

  test("no more rows than wanted", () => {
    expect(csvRows("1\n2\n3\n", ",", 2)).toEqual([["1"], ["2"]]);
  });

  test("a line that was cut is left out", () => {
    expect(wholeLines("a,b\n1,2\n3,")).toBe("a,b\n1,2\n");
    expect(wholeLines("one long li")).toBe("one long li");
  });
});

describe("JSON on lines", () => {
  test("numbers stay as they were written", () => {
    expect(indented('{"a":[1.0,9007199254740993,{}],"b":"x: [1]"}')).toBe(
      '{\n  "a": [\n    1.0,\n    9007199254740993,\n    {}\n  ],\n  "b": "x: [1]"\n}',
    );
  });

  test("the text and its meaning stay", () => {
    const json = '[{"q":"\\"{,}\\\\","n":null,"t":true},[],-1e-7]';
    expect(JSON.parse(indented(json)!)).toEqual(JSON.parse(json));
  });

  test("half a document is none", () => {
    expect(indented('{"a": 1,')).toBeNull();
  });
});

const PATCH = `diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -1,3 +1,3 @@ def main
 same
--- looks like a head
+++ so does this
 end
\\ No newline at end of file
`;

describe("a patch", () => {
  test("lines of a hunk are not heads of files", () => {
    expect(patchLines(PATCH).map((line) => line.kind)).toEqual(["file", "file", "file", "hunk", "same", "removed", "added", "same", "note"]);
  });

  test("lines have their numbers in both versions", () => {
    expect(patchLines(PATCH).slice(4, 8).map(({ before, after }) => [before, after])).toEqual([[1, 1], [2, null], [null, 2], [3, 3]]);
  });

  test("it is summed up", () => {
    expect(summaryOf(patchLines(PATCH))).toEqual({ files: 1, added: 1, removed: 1 });
  });
});

test("a character cut in half is left out", () => {
  const bytes = new TextEncoder().encode("aé");
  expect(textOf({ bytes: bytes.slice(0, 2), isWhole: false })).toBe("a");
});
