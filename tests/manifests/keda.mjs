// Checks KEDA's objects against the schema that the npm package @kubernetes-models/keda holds. Reads a JSON list of objects
// from standard input, prints a fault a line, exits with 1 if there is any.
//
//   node keda.mjs FOLDER     FOLDER has a node_modules with the package
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const types = join(process.argv[2], "node_modules/@kubernetes-models/keda/keda.sh/v1alpha1");
const faults = [];

// The package's own check lets fields through that it does not know, as Kubernetes drops them without a word. What it knows
// stands in its type declarations: `"name"?: Type;`.
function unknown(object, type, path) {
  let declared;
  try {
    declared = readFileSync(join(types, `${type}.d.ts`), "utf8");
  } catch {
    return; // a type of Kubernetes' own, or free text
  }
  const fields = new Map([...declared.matchAll(/^    "(\w+)"\??: (?:Array<)?(?:\w+V1alpha1(\w+))?/gm)].map((m) => [m[1], m[2]]));
  if (fields.size === 0) return;
  for (const [key, value] of Object.entries(object)) {
    if (!fields.has(key)) faults.push(`${path}/${key}: there is no such field`);
    const inner = fields.get(key);
    for (const [i, item] of (Array.isArray(value) ? value : [value]).entries()) {
      if (inner && item && typeof item === "object") unknown(item, inner, Array.isArray(value) ? `${path}/${key}/${i}` : `${path}/${key}`);
    }
  }
}

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${object.kind} ${object.metadata?.name}`;
  const model = await import(pathToFileURL(join(types, `${object.kind}.js`))).catch(() => ({}));
  if (!model[object.kind]) {
    faults.push(`${name}: KEDA has no such kind`);
    continue;
  }
  try {
    new model[object.kind](object).validate();
  } catch (error) {
    faults.push(`${name}: ${error.message}`);
  }
  unknown(object, object.kind, name);
}
for (const fault of faults) console.log(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
