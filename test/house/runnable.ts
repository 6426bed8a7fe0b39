/**
 * The programs in a Markdown file that a reader may copy, and what they are said to print. A block of TypeScript right
 * below `<!-- run: name.ts -->` is a program, and a block of text right below that is what it prints.
 */

export interface Program {
  readonly file: string;
  readonly code: string;
  /** Lines that it prints, in this order; others may come between. */
  readonly prints: readonly string[];
}

const MARK = /^<!-- run: /gm;

const PROGRAM =
  /^<!-- run: ([a-z0-9-]+\.ts) -->\n+```ts\n([\s\S]*?)^```\n(?:\n*```text\n([\s\S]*?)^```$)?/gm;

/** Every program in a text, in its order. Throws for a mark that stands above none, so that none is left out unseen. */
export function programsIn(markdown: string): readonly Program[] {
  const programs = Array.from(
    markdown.matchAll(PROGRAM),
    ([, file = "", code = "", text = ""]) => ({
      file,
      code,
      prints: text.split("\n").filter((line) => line !== ""),
    }),
  );
  const marks = markdown.match(MARK)?.length ?? 0;
  if (marks !== programs.length) {
    throw new Error(`of ${marks} marks, only ${programs.length} stand above a block of TypeScript`);
  }
  return programs;
}
