/**
 * The floor: a bare Bun.serve route that parses the JSON of an enqueue and answers what ringq answers. It checks, keeps
 * and runs nothing, and makes no id, so no queue behind the same HTTP server can cost less.
 */

const ID = "019a0000-0000-7000-8000-000000000000";

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  development: false,
  routes: {
    "/enqueue": {
      POST: async (request) => {
        const { payload } = (await request.json()) as { readonly payload?: unknown };
        if (payload === undefined) return new Response(null, { status: 422 });
        return Response.json(
          { id: ID, status: "queued" },
          { status: 202, headers: { location: `/tasks/${ID}` } },
        );
      },
    },
  },
});

console.log(JSON.stringify({ event: "server_listening", url: `http://127.0.0.1:${server.port}` }));
