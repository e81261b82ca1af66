// follow.js in Node. usage: node [--experimental-websocket] stream.cjs ADDRESS TOKEN LOG
const fs = require('node:fs');
const path = require('node:path');

const source = fs.readFileSync(path.join(__dirname, 'follow.js'), 'utf8');
const follow = new Function(`${source}; return follow`)();
const [address, token, file] = process.argv.slice(2);
follow(address, token, { pos: '0', note: (lines) => fs.appendFileSync(file, lines.map((line) => `${line}\n`).join('')) });
