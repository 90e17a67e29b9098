// A real OpenID Connect provider for the tests of the plugin `oidc`: npm `oidc-provider` on a free port, which it prints. It
// ends when its standard input does. Arguments: the folder with node_modules, the redirect address, the lifetime of access
// tokens in seconds.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, redirect, seconds] = process.argv.slice(2);
const entry = createRequire(`${folder}/package.json`).resolve("oidc-provider");
const { default: Provider } = await import(pathToFileURL(entry).href);

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "gateway",
      client_secret: "a secret of the gateway: 100%",
      redirect_uris: [redirect],
      post_logout_redirect_uris: [new URL("/bye", redirect).href],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
    }],
    claims: { openid: ["sub"], email: ["email"], groups: ["groups"] },
    conformIdTokenClaims: false,
    cookies: { keys: ["of the provider's own"] },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: Number(seconds), IdToken: 3600, Interaction: 600, Grant: 3600, Session: 3600, RefreshToken: 3600 },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@id.test`, groups: id === "ada" ? ["staff", "admin"] : ["staff"] }),
    }),
  });
  server.on("request", provider.callback());
  console.log(server.address().port);
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
