/**
 * The API description as a page for people. It is made from the OpenAPI document, in one file that
 * has no script and loads nothing.
 */

/** The parts of an OpenAPI document that the page reads. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: Schema;
}

interface Answer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, { readonly description: string }>>;
  readonly content?: Content;
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>;

/** The part of JSON Schema that http/schemas.ts uses. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
}

export function docsPage(document: ApiDocument): string {
  const { info, tags, components } = document;
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `<section id="${name}"><h3>${name}</h3>${schemaBody(schema)}</section>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${Bun.escapeHTML(info.title)} API</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${Bun.escapeHTML(info.title)} <small>${Bun.escapeHTML(info.version)}</small></h1>
<p>${Bun.escapeHTML(info.description)} For machines: <a href="/openapi.json">/openapi.json</a></p>
</header>
<main>
${tags.map((tag) => tagSection(document, tag)).join("\n")}
<h2>Schemas</h2>
${schemas.join("\n")}
</main>
</body>
</html>
`;
}

function tagSection({ paths }: ApiDocument, tag: ApiDocument["tags"][number]): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, { tags }]) => tags.includes(tag.name))
      .map(([method, operation]) => operationSection(method, path, operation)),
  );
  return `<h2>${Bun.escapeHTML(tag.name)}</h2><p>${Bun.escapeHTML(tag.description)}</p>${operations.join("\n")}`;
}

function operationSection(method: string, path: string, operation: Operation): string {
  const { operationId, summary, parameters = [], requestBody, responses } = operation;
  return `<section id="${Bun.escapeHTML(operationId)}">
<h3><code class="${method}">${method.toUpperCase()}</code> <code>${Bun.escapeHTML(path)}</code></h3>
<p>${Bun.escapeHTML(summary)}</p>
${table(["Parameter", "Type", ""], parameters.map(parameterRow))}
${requestBody === undefined ? "" : `<p>Body: ${contentText(requestBody.content)}</p>`}
${table(["Status", "Answer", ""], Object.entries(responses).map(answerRow))}
</section>`;
}

function parameterRow({ name, in: place, required, description, schema }: Parameter): string[] {
  const text = description ?? schema.description ?? "";
  return [
    `<code>${Bun.escapeHTML(name)}</code> ${place}${required === true ? ", required" : ""}`,
    typeText(schema),
    Bun.escapeHTML(text),
  ];
}

function answerRow([status, { description, headers = {}, content }]: [string, Answer]): string[] {
  const headerLines = Object.entries(headers).map(
    ([name, header]) => `<br><code>${Bun.escapeHTML(name)}</code>: ${codes(header.description)}`,
  );
  return [
    status,
    content === undefined ? "" : contentText(content),
    codes(description) + headerLines.join(""),
  ];
}

function contentText(content: Content): string {
  return Object.entries(content)
    .map(([type, { schema }]) => `${typeText(schema)} <small>${Bun.escapeHTML(type)}</small>`)
    .join(", ");
}

function schemaBody({ description, properties, required = [], ...schema }: Schema): string {
  const intro = description === undefined ? "" : `<p>${Bun.escapeHTML(description)}</p>`;
  if (properties === undefined) return `${intro}<p>${typeText(schema)}</p>`;
  const rows = Object.entries(properties).map(([name, each]) => [
    `<code>${Bun.escapeHTML(name)}</code>${required.includes(name) ? "" : " <small>optional</small>"}`,
    typeText(each),
    Bun.escapeHTML(each.description ?? ""),
  ]);
  return intro + table(["Field", "Type", ""], rows);
}

function typeText(schema: Schema): string {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1);
    return `<a href="#${name}">${name}</a>`;
  }
  if (schema.const !== undefined)
    return `<code>${Bun.escapeHTML(JSON.stringify(schema.const))}</code>`;
  if (schema.enum !== undefined)
    return schema.enum.map((value) => `<code>${Bun.escapeHTML(String(value))}</code>`).join(" ");
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(" or ");
  if (schema.items !== undefined) return `list of ${typeText(schema.items)}`;
  if (schema.properties !== undefined) {
    const fields = Object.entries(schema.properties).map(
      ([name, each]) => `<code>${Bun.escapeHTML(name)}</code>: ${typeText(each)}`,
    );
    return `{ ${fields.join(", ")} }`;
  }
  return `${schema.format ?? schema.type ?? "any JSON value"}${boundsText(schema)}`;
}

function boundsText({ minimum, maximum, minLength, maxLength }: Schema): string {
  const [min, max] = [minimum ?? minLength, maximum ?? maxLength];
  if (min === undefined && max === undefined) return "";
  const unit = minLength === undefined && maxLength === undefined ? "" : " characters";
  if (max === undefined) return `, at least ${min}${unit}`;
  return `, ${min ?? 0} to ${max}${unit}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const line = (cells: readonly string[], cell: string) =>
    `<tr>${cells.map((each) => `<${cell}>${each}</${cell}>`).join("")}</tr>`;
  return `<div><table>${line(head, "th")}${rows.map((row) => line(row, "td")).join("")}</table></div>`;
}

/** Text whose `quoted` words are shown as code. */
function codes(text: string): string {
  return Bun.escapeHTML(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#ddd, #444); --soft: light-dark(#f5f5f5, #262626); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 2rem 0 0; }
p { margin: .25rem 0 .75rem; }
small { opacity: .7; font-weight: normal; }
code { background: var(--soft); padding: .1em .3em; border-radius: .25em; overflow-wrap: anywhere; }
code.get { color: light-dark(#0b6, #4d9); }
code.post { color: light-dark(#06c, #6af); }
code.delete { color: light-dark(#c22, #f77); }
div { overflow-x: auto; margin-bottom: .75rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid var(--line); }
th { background: var(--soft); }
td:first-child { white-space: nowrap; }
`;
