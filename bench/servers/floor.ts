/**
 * The floor: a bare Bun.serve route that parses the JSON of an enqueue and answers what ringq answers. It checks, keeps
 * and runs nothing, and makes no id, so no queue behind the same HTTP server can cost less.
 *
 * With KEEP=<n> it makes ids and keeps the payloads of the last so many, found by their ids: the least that a queue does
 * which can be asked for its finished tasks.
 */

const ID = "019a0000-0000-7000-8000-000000000000";

const keep = Number(process.env["KEEP"] ?? 0);
const kept = new Map<string, string>();
const ids: string[] = [];
let made = 0;

function idOf(payload: unknown): string {
  if (keep === 0) return ID;
  const id = Bun.randomUUIDv7();
  const place = made % keep;
  made += 1;
  kept.delete(ids[place] ?? "");
  ids[place] = id;
  kept.set(id, JSON.stringify(payload));
  return id;
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  development: false,
  routes: {
    "/enqueue": {
      POST: async (request) => {
        const { payload } = (await request.json()) as { readonly payload?: unknown };
        if (payload === undefined) return new Response(null, { status: 422 });
        const id = idOf(payload);
        return Response.json(
          { id, status: "queued" },
          { status: 202, headers: { location: `/tasks/${id}` } },
        );
      },
    },
  },
});

console.log(JSON.stringify({ event: "server_listening", url: `http://127.0.0.1:${server.port}` }));
