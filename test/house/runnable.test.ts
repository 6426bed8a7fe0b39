import { expect, test } from "bun:test";
import { programsIn } from "./runnable.ts";

const block = (language: string, text: string): string => `\`\`\`${language}\n${text}\n\`\`\`\n`;

test("a marked block is a program, with what is said to be printed below it", () => {
  const markdown = `
Words.

<!-- run: first.ts -->
${block("ts", "console.log(1);\nconsole.log(2);")}
${block("text", "1\n2")}
<!-- run: second.ts -->
${block("ts", "")}
Words in between.
${block("text", "not its output")}
${block("ts", "not marked")}
`;
  expect(programsIn(markdown)).toEqual([
    { file: "first.ts", code: "console.log(1);\nconsole.log(2);\n", prints: ["1", "2"] },
    { file: "second.ts", code: "\n", prints: [] },
  ]);
});

test.each([
  ["above nothing", "<!-- run: a.ts -->\n"],
  ["above another language", `<!-- run: a.ts -->\n${block("sh", "ls")}`],
  ["above words", `<!-- run: a.ts -->\nWords.\n${block("ts", "1")}`],
  ["without the name of a file", `<!-- run: -->\n${block("ts", "1")}`],
  ["with a name that leads elsewhere", `<!-- run: ../a.ts -->\n${block("ts", "1")}`],
])("a mark %s is a fault, and not a program less", (_, markdown) => {
  expect(() => programsIn(markdown)).toThrow("of 1 marks, only 0 stand above");
});
