// The service of the tests in JavaScript, for componentize-js. `service.py` does the same in Python.

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname: path, search } = new URL(request.url);
  if (path === "/hello") return new Response("hello from JavaScript");
  if (path === "/echo") return new Response(request.body);
  if (path.startsWith("/call/")) return call(path.slice("/call/".length) + search);
  if (path === "/loop") for (;;);
  if (path === "/memory") for (const held = []; ; ) held.push(new Uint8Array(1 << 20).fill(1));
  if (path === "/raise") throw new Error("raised");
  return new Response("", { status: 404 });
}

// `UPSTREAM/PATH`: what it answers.
async function call(whom) {
  try {
    return new Response(await (await fetch(`http://${whom}`)).text());
  } catch (error) {
    console.log(error);
    return new Response("refused", { status: 502 });
  }
}
