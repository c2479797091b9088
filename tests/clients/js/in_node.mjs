// Talks in Node: the client's module and the task are the arguments, the talk is the last line of stdout.
const [module, task] = process.argv.slice(2);
const { talk } = await import(module);
console.log(`\n${JSON.stringify(await talk(JSON.parse(task)))}`);
