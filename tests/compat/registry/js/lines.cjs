// A program that answers a request per line of JSON on stdin with a line on stdout; the requests are those of clients.py.
'use strict';

const fs = require('node:fs');
const readline = require('node:readline');
const { createFileRegistry, fromBinary } = require('@bufbuild/protobuf');
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt');

// The messages of the test, as protoc compiled them.
function descriptors() {
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, fs.readFileSync(process.env.COMPAT_DESCRIPTORS)));
}

// `operations`: by name, each from a request to an answer. `failure`: from what was thrown to an answer.
async function answerLines(operations, failure) {
  // Standard output belongs to the answers.
  console.log = console.info = console.debug = console.error;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const operation = operations[request.op];
    let answer;
    try {
      answer = operation ? await operation(request) : { unsupported: true };
    } catch (error) {
      answer = failure(error);
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
}

module.exports = { answerLines, descriptors };
