// Exits with 1 and says what is wrong unless the AsyncAPI document that is named is valid.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const WARNING = 1; // Errors are 0; what is above is advice.

const [file] = process.argv.slice(2);
const { document, diagnostics } = await new Parser().parse(await readFile(file, "utf8"));
const faults = diagnostics.filter((each) => each.severity <= WARNING);
for (const { code, message, path, range } of faults) {
  console.error(`${file}:${range.start.line + 1}: ${code}: ${message} (${path.join(".")})`);
}
process.exit(document && faults.length === 0 ? 0 : 1);
