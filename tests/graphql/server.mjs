// A real GraphQL server for the tests of the plugin `rest-graphql`: npm `graphql-yoga` on a free port, which it prints. It ends when
// its standard input does. Argument: the folder with node_modules.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.argv[2]}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { createSchema, createYoga } = await load("graphql-yoga");
const { GraphQLError } = await load("graphql");

const users = new Map([["7", { id: "7", name: "Ada", tags: ["math", "music"] }], ["a b", { id: "a b", name: "Eve", tags: [] }]]);
const refused = (code) => new GraphQLError(`a secret about ${code}`, { extensions: { code } });

const yoga = createYoga({
  logging: false,
  maskedErrors: false,
  schema: createSchema({
    typeDefs: `
      enum Role { STAFF ADMIN }
      input NewUser { name: String! role: Role }
      type Order { id: ID! total: Float! }
      type User { id: ID! name: String! tags(first: Int, only: [String!]): [String!]! orders: [Order!] secret: String! broken: String }
      type Query { user(id: ID!): User me: User refuse(code: String!): User }
      type Mutation { create(user: NewUser!, notify: Boolean): User! }
    `,
    resolvers: {
      Query: {
        user: (_, { id }) => users.get(id) ?? null,
        me: (_, __, { request }) => {
          const id = request.headers.get("x-user");
          if (!id) throw refused("UNAUTHENTICATED");
          return users.get(id);
        },
        refuse: (_, { code }) => { throw refused(code); },
      },
      Mutation: {
        create: (_, { user, notify }) => ({ id: "new", name: `${user.name} ${user.role ?? "none"} ${notify ?? "default"}`, tags: [] }),
      },
      User: {
        tags: (user, { first, only }) => user.tags.filter((tag) => !only || only.includes(tag)).slice(0, first ?? undefined),
        orders: () => [{ id: "1", total: 1.5 }],
        secret: () => { throw refused("FORBIDDEN"); },
        broken: () => { throw new Error("a secret of the server"); },
      },
    },
  }),
});

const server = createServer(yoga);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
