// What every driver does with a client that is connected to the unified endpoint: lists everything, page by page, and carries
// out a plan. PLAN is JSON: {"tools": [[name, arguments]], "resources": [uri], "prompts": [[name, arguments]]}.

const plan = JSON.parse(process.env.PLAN ?? '{}');

export async function survey(client) {
  const listed = {
    tools: names(await all('tools', (params) => client.listTools(params))),
    prompts: names(await all('prompts', (params) => client.listPrompts(params))),
    resources: uris(await all('resources', (params) => client.listResources(params)), 'uri'),
    templates: uris(await all('resourceTemplates', (params) => client.listResourceTemplates(params)), 'uriTemplate'),
  };
  // All at once: answers have to find their way.
  const [called, read, got] = await Promise.all([
    Promise.all((plan.tools ?? []).map(async ([name, args]) => textOf((await client.callTool({ name, arguments: args })).content[0]))),
    Promise.all((plan.resources ?? []).map(async (uri) => contents(await client.readResource({ uri })))),
    Promise.all((plan.prompts ?? []).map(async ([name, args]) => textOf((await client.getPrompt({ name, arguments: args })).messages[0].content))),
  ]);
  return { ...listed, called, read, got };
}

async function all(kind, list) {
  const found = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? {} : { cursor });
    found.push(...page[kind]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}

const names = (listed) => listed.map(({ name }) => name);
const uris = (listed, key) => listed.map((item) => item[key]);
const textOf = (content) => content.text ?? content.type;
const contents = ({ contents: [first] }) => [first.uri, first.text ?? first.blob];
