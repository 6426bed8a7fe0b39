/**
 * Sends JSON answers, and bounds the bytes that wait for clients to read them.
 *
 * A long answer is a stream. The connection asks it for a piece when it has room, so the unread
 * bytes are known. Any other answer goes at once into a buffer without a bound, where it stays
 * until the client reads it.
 */

/**
 * An answer of at least this length is a stream. A shorter one fits into the buffers of its
 * connection.
 */
const LONG = 64 * 1024;

/** The bytes that the stream gives at a time. */
const PIECE_BYTES = 64 * 1024;

export class Answers {
  readonly #bytesMax: number;
  #unreadBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Whether there is no room for an answer of these parts. An answer that is already due is sent
   * anyway.
   */
  hasNoRoomFor(parts: readonly string[]): boolean {
    return this.isFull && isLong(parts);
  }

  /** Whether there is no room for a long answer. */
  get isFull(): boolean {
    return this.#unreadBytes >= this.#bytesMax;
  }

  /** An answer made of these parts of JSON text. */
  json(
    parts: readonly string[],
    { status = 200, headers = {}, onUnread = NOTHING }: AnswerOptions = {},
  ): Response {
    return new Response(isLong(parts) ? this.#streamOf(parts, onUnread) : parts.join(""), {
      status,
      headers: { "content-type": "application/json", ...headers },
    });
  }

  #streamOf(parts: readonly string[], onUnread: () => void): ReadableStream<Uint8Array> {
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
        cancel() {
          read(unreadBytes);
          onUnread();
        },
      },
      // Nothing is read before the connection asks for it.
      { highWaterMark: 0 },
    );
  }
}

export interface AnswerOptions {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Called when the client has gone before it read all of a long answer. */
  readonly onUnread?: () => void;
}

const NOTHING = (): void => undefined;

function isLong(parts: readonly string[]): boolean {
  let length = 0;
  for (const part of parts) length += part.length;
  return length > LONG;
}

/**
 * Yields the text of these parts as bytes, piece by piece. `parts` is in reverse order; each part
 * is removed when it is read, so that it does not stay in memory.
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
