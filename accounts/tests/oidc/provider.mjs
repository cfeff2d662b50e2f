// node provider.mjs PORT JWKS: oidc-provider with client credentials and JWT access tokens for any audience
// (resource). Prints "ready" when it listens.
import Provider from "oidc-provider";

const [port, jwks] = process.argv.slice(2);
const SCOPE = "catalogue:write quotes:read";
const client = (client_id) => ({
  client_id,
  client_secret: `${client_id}: a secret & 100 %`,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client("farmlokal"), client("shop")],
  jwks: JSON.parse(jwks),
  scopes: SCOPE.split(" "),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "https://api.farmlokal.example",
      getResourceServerInfo: (_context, resource) => ({
        scope: SCOPE,
        audience: resource,
        accessTokenTTL: 600,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});

provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
