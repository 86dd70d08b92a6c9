// Reads requests from standard input, a JSON array of {model, inputs, parameters}. Writes the server's answer to each:
// {outputs} or {code, message}. Inputs, by name, are strings, photos in base64, or rows of numbers.
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const definition = loader.loadSync(path.join(__dirname, "inference.proto"), { keepCase: true, longs: Number });
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;

const ENCODERS = {
  text: (values) => bytesTensor(values.map((value) => Buffer.from(value, "utf8"))),
  base64: (values) => bytesTensor(values.map((value) => Buffer.from(value, "base64"))),
  numbers: (rows) => ({
    datatype: "FP32",
    shape: [rows.length, rows[0].length],
    content: Buffer.from(new Float32Array(rows.flat()).buffer),
  }),
};

// JSON has no -inf, so every number is written as text.
const READERS = {
  INT64: (content, at) => [content.readBigInt64LE(at).toString(), 8],
  FP32: (content, at) => [String(content.readFloatLE(at)), 4],
};

function bytesTensor(values) {
  const pieces = values.flatMap((value) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    return [length, value];
  });
  return { datatype: "BYTES", shape: [values.length, 1], content: Buffer.concat(pieces) };
}

function parameter(value) {
  if (typeof value === "string") return { string_param: value };
  return Number.isInteger(value) ? { int64_param: value } : { double_param: value };
}

function toRequest({ model, inputs, parameters }) {
  const tensors = Object.entries(inputs).map(([name, { kind, values }]) => ({ name, ...ENCODERS[kind](values) }));
  return {
    model_name: model,
    parameters: Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, parameter(value)])),
    inputs: tensors.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
    outputs: [{ name: "product_ids" }, { name: "scores" }],
    raw_input_contents: tensors.map(({ content }) => content),
  };
}

function readRows({ datatype, shape }, content) {
  const rows = [];
  for (let row = 0, at = 0; row < shape[0]; row += 1) {
    rows.push([]);
    for (let column = 0; column < shape[1]; column += 1) {
      const [value, size] = READERS[datatype](content, at);
      rows[row].push(value);
      at += size;
    }
  }
  return rows;
}

function ask(client, request) {
  const deadline = new Date(Date.now() + 60_000);
  return new Promise((resolve) => {
    client.ModelInfer(toRequest(request), { deadline }, (error, reply) => {
      if (error) return resolve({ code: grpc.status[error.code], message: error.details });
      const outputs = reply.outputs.map((output, place) => [
        output.name,
        readRows(output, reply.raw_output_contents[place]),
      ]);
      return resolve({ outputs: Object.fromEntries(outputs) });
    });
  });
}

async function main(url) {
  const pieces = [];
  for await (const piece of process.stdin) pieces.push(piece);
  const client = new GRPCInferenceService(url, grpc.credentials.createInsecure());
  const answers = await Promise.all(JSON.parse(Buffer.concat(pieces)).map((request) => ask(client, request)));
  client.close();
  process.stdout.write(JSON.stringify(answers));
}

main(process.argv[2]);
