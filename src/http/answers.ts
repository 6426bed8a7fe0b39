/**
 * Sends answers of JSON, and bounds the bytes of those that wait for their clients to read them.
 *
 * A long answer is a stream that is asked for a piece when the connection has room, so what a
 * client has not read is known. Any other answer leaves at once into a buffer without a bound, for
 * as long as the client does not read.
 */

/**
 * From this length on an answer is a stream. A shorter one fits into the buffers of its connection.
 */
const LONG = 64 * 1024;

/** As many bytes as the stream gives at a time. */
const PIECE_BYTES = 64 * 1024;

export class Answers {
  readonly #bytesMax: number;
  #unreadBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Whether no room is left for an answer of these parts. One that is already due is sent all the
   * same.
   */
  hasNoRoomFor(parts: readonly string[]): boolean {
    return this.#unreadBytes >= this.#bytesMax && isLong(parts);
  }

  /** An answer of these parts of JSON text. */
  json(parts: readonly string[], { status = 200, headers = {} }: AnswerOptions = {}): Response {
    return new Response(isLong(parts) ? this.#streamOf(parts) : parts.join(""), {
      status,
      headers: { "content-type": "application/json", ...headers },
    });
  }

  #streamOf(parts: readonly string[]): ReadableStream<Uint8Array> {
    const pieces = piecesOf(parts.toReversed());
    let unreadBytes = 0;
    for (const part of parts) unreadBytes += Buffer.byteLength(part);
    this.#unreadBytes += unreadBytes;
    const read = (bytes: number): void => {
      unreadBytes -= bytes;
      this.#unreadBytes -= bytes;
    };
    return new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          const { value } = pieces.next();
          if (value === undefined) return controller.close();
          read(value.byteLength);
          controller.enqueue(value);
        },
        // The client has gone.
        cancel: () => read(unreadBytes),
      },
      // Nothing is taken before the connection asks for it.
      { highWaterMark: 0 },
    );
  }
}

export interface AnswerOptions {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

function isLong(parts: readonly string[]): boolean {
  let length = 0;
  for (const part of parts) length += part.length;
  return length > LONG;
}

/**
 * The text of these parts, the last one first, as bytes, piece by piece. Takes them out, so that
 * none is kept.
 */
function* piecesOf(parts: string[]): Generator<Uint8Array, undefined> {
  while (parts.length > 0) {
    let text = "";
    while (text.length < PIECE_BYTES && parts.length > 0) text += parts.pop();
    const bytes = Buffer.from(text);
    for (let start = 0; start < bytes.byteLength; start += PIECE_BYTES) {
      yield bytes.subarray(start, start + PIECE_BYTES);
    }
  }
}
