// Conversations through npm's `openai`, polled and streamed.
//
//     node node.cjs URL chat|function|code|search FOLDER_WITH_NODE_MODULES

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");

const [url, name, folder] = process.argv.slice(2);
const { default: OpenAI, toFile } = require(require.resolve("openai", { paths: [folder] }));
const client = new OpenAI({ baseURL: url, apiKey: "x", maxRetries: 0, timeout: 30000 });
const { assistants, threads } = client.beta;
const PRICE = {
  type: "function",
  function: { name: "price", parameters: { type: "object", properties: { of: { type: "string" } } } },
};
const uploaded = async (called, text) =>
  client.files.create({ file: await toFile(Buffer.from(text), called), purpose: "assistants" });
const said = async (run) => {
  const listed = await threads.messages.list(run.thread_id, { run_id: run.id });
  return listed.data[0];
};

// What the client puts together from a stream keeps the places of its parts.
const withoutIndex = (value) => JSON.parse(JSON.stringify(value, (key, part) => (key === "index" ? undefined : part)));

async function chat() {
  const made = await assistants.create({ model: "any", instructions: "Be brief." });
  const first = await threads.createAndRunPoll({
    assistant_id: made.id,
    thread: { messages: [{ role: "user", content: "say hello" }] },
  });
  await threads.messages.create(first.thread_id, { role: "user", content: "how many" });
  let heard = "";
  const stream = threads.runs.stream(first.thread_id, { assistant_id: made.id });
  stream.on("textDelta", (delta) => (heard += delta.value));
  const second = await said(await stream.finalRun());
  assert.equal(second.content[0].text.value, heard);
  return [(await said(first)).content[0].text.value, heard];
}

async function functionCall() {
  const made = await assistants.create({ model: "any", tools: [PRICE] });
  const outputs = (run) =>
    run.required_action.submit_tool_outputs.tool_calls.map((call) => ({
      tool_call_id: call.id,
      output: `${JSON.parse(call.function.arguments).of} cost 42`,
    }));
  const messages = [{ role: "user", content: "call price" }];
  const waiting = await threads.createAndRunPoll({ assistant_id: made.id, thread: { messages } });
  const polled = await threads.runs.submitToolOutputsAndPoll(waiting.id, {
    thread_id: waiting.thread_id,
    tool_outputs: outputs(waiting),
  });
  const again = await threads.createAndRunStream({ assistant_id: made.id, thread: { messages } }).finalRun();
  const tool_outputs = outputs(again);
  const stream = threads.runs.submitToolOutputsStream(again.id, { thread_id: again.thread_id, tool_outputs });
  const [message] = await stream.finalMessages();
  assert.equal((await said(polled)).content[0].text.value, message.content[0].text.value);
  return message.content[0].text.value;
}

async function code() {
  const cell = fs.readFileSync(path.join(__dirname, "cell.py.txt"), "utf8");
  const file = await uploaded("n.csv", "n\n20\n22\n");
  const made = await assistants.create({
    model: "any",
    tools: [{ type: "code_interpreter" }],
    tool_resources: { code_interpreter: { file_ids: [file.id] } },
  });
  const thread = await threads.create({ messages: [{ role: "user", content: `run ${cell}` }] });
  const stream = threads.runs.stream(thread.id, { assistant_id: made.id });
  const steps = await stream.finalRunSteps();
  const [message] = await stream.finalMessages();
  const kept = await said(await stream.finalRun());
  assert.deepEqual(withoutIndex(message.content), kept.content);
  const [image, text] = kept.content;
  const content = async (id) => Buffer.from(await (await client.files.content(id)).arrayBuffer()).toString("latin1");
  return {
    answer: text.text.value,
    logs: steps[0].step_details.tool_calls[0].code_interpreter.outputs[0].logs,
    file: await content(text.text.annotations[0].file_path.file_id),
    image: (await content(image.image_file.file_id)).slice(1, 4),
  };
}

async function search() {
  const file = await uploaded("birds.md", "The kingfisher is blue.");
  const store = await client.vectorStores.create({ name: "one" });
  await client.vectorStores.files.createAndPoll(store.id, { file_id: file.id });
  const made = await assistants.create({
    model: "any",
    tools: [{ type: "file_search" }],
    tool_resources: { file_search: { vector_store_ids: [store.id] } },
  });
  const run = await threads.createAndRunPoll({
    assistant_id: made.id,
    thread: { messages: [{ role: "user", content: "search kingfisher" }] },
  });
  const { text } = (await said(run)).content[0];
  const [cited] = text.annotations;
  assert.equal(text.value.slice(cited.start_index, cited.end_index), cited.text);
  return { answer: text.value, cited: (await client.files.retrieve(cited.file_citation.file_id)).filename };
}

({ chat, function: functionCall, code, search })[name]().then((result) => console.log(JSON.stringify(result)));
