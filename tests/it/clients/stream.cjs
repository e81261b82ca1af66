// follow.js in Node. It may be killed at any moment: started again, it goes on where its log ends.
// usage: node [--experimental-websocket] stream.cjs ADDRESS TOKEN LOG
const fs = require('node:fs');
const path = require('node:path');

const source = fs.readFileSync(path.join(__dirname, 'follow.js'), 'utf8');
const follow = new Function(`${source}; return follow`)();
const [address, token, file] = process.argv.slice(2);

/** Where the log ends. What was cut off behind it is taken away, and comes again. */
function lastPosition() {
    const lines = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
    while (lines.length && lines.at(-1).startsWith('- ')) lines.pop();
    fs.writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
    const last = lines.at(-1) ?? 'LOST';
    return last === 'LOST' ? '0' : last.split(' ')[0];
}

follow(address, token, {
    pos: lastPosition(),
    // In one write, so that a kill leaves all of it or a part that lastPosition takes away.
    note: (lines) => fs.appendFileSync(file, lines.map((line) => `${line}\n`).join('')),
});
