/**
 * Reads the body of a request: JSON, within the limit, of the shape that its schema says. Everything that can be wrong
 * with one is told apart here, in the order in which it is cheapest to find out: 415, 413, 400, 422.
 *
 * Elysia could parse and check bodies itself, but not in this order, not with a problem in the 413, and a parser of
 * one's own costs it a stream per request; docs/DECISIONS.md has the reasons.
 */

import type { Static, TSchema } from "@sinclair/typebox";
import type { MaybePromise } from "../engine/engine.ts";
import { invalidRequest, problem } from "./api/problem.ts";
import type { Shape } from "./shape.ts";

/**
 * Answers with what `accept` makes of the body, or with what is wrong with it. One asynchronous function with one wait
 * in the common case: every further one would cost each request.
 */
export async function withBody<T extends TSchema>(
  request: Request,
  shape: Shape<T>,
  bytesMax: number,
  accept: (body: Static<T>) => MaybePromise<Response>,
): Promise<Response> {
  const { headers } = request;
  if (!isJson(headers.get("content-type")) || headers.get("content-encoding") !== null) {
    const detail = "Send the body as application/json, without a Content-Encoding.";
    return problem("unsupported_media_type", detail);
  }
  const length = headers.get("content-length");
  if (length !== null && Number(length) > bytesMax) return tooLarge(bytesMax);

  let body: unknown;
  try {
    if (length === null) {
      const text = await readTextUpTo(request, bytesMax);
      if (text === null) return tooLarge(bytesMax);
      body = JSON.parse(text);
    } else body = await request.json();
  } catch {
    // What the parser says may quote the body, so it is not passed on.
    return problem("invalid_json", "The body could not be parsed as JSON.");
  }
  return shape.fits(body) ? accept(body) : invalidRequest(shape.errors(body));
}

function isJson(contentType: string | null): boolean {
  if (contentType === "application/json") return true;
  return contentType !== null && /^application\/json\s*(;|$)/i.test(contentType);
}

function tooLarge(bytesMax: number): Response {
  return problem("body_too_large", `The body is larger than ${bytesMax} bytes.`);
}

/** Reads a body of unknown length, or gives up with null as soon as it is too long. */
async function readTextUpTo(request: Request, bytesMax: number): Promise<string | null> {
  if (request.body === null) return "";
  // One buffer for all chunks: kept one by one, a million chunks of a byte would take a hundred times their size.
  const sink = new Bun.ArrayBufferSink();
  sink.start({ asUint8Array: true });
  let bytes = 0;
  for await (const chunk of request.body) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return null;
    sink.write(chunk);
  }
  // As request.json() does it: a byte order mark is no part of the text.
  return new TextDecoder().decode(sink.end());
}
