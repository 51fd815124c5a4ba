import fc from "fast-check";
import { expect, test } from "vitest";
import { commandOf } from "./command";
import { fileHref, fileIn } from "./paths";
import { treeOf } from "./tree";

test("the path of a file comes back from its address", () => {
  const segment = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !text.includes("/"));
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1 }), (segments) => {
      const path = segments.join("/");
      expect(fileIn(fileHref("id", path))).toBe(path);
    }),
  );
  expect(fileIn("/r/id/artifacts")).toBeNull();
  expect(fileIn("/r/id/artifacts/100%")).toBe("100%");
});

test("files are in their folders", () => {
  const root = treeOf([{ path: "a.txt" }, { path: "model/model.joblib" }, { path: "plots/deep/x.png" }]);

  expect(root.files).toEqual([{ path: "a.txt" }]);
  expect(root.folders.map(({ path, files }) => [path, files.length])).toEqual([["model", 1], ["plots", 0]]);
  expect(root.folders[1]!.folders[0]).toMatchObject({ name: "deep", path: "plots/deep", files: [{ path: "plots/deep/x.png" }] });
});

test("a command can be pasted into a shell", () => {
  expect(commandOf({ entryPoint: "train.py", argv: ["train.py", "--name", "it's 1", "--lr=0.1"] })).toBe(`python train.py --name 'it'"'"'s 1' --lr=0.1`);
  expect(commandOf({ entryPoint: "-m pkg.train", argv: ["/x/pkg/train.py", "-v"] })).toBe("python -m pkg.train -v");
  expect(commandOf({ entryPoint: null, argv: null })).toBeNull();
});
