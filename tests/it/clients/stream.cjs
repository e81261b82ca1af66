// follow.js in Node. It can be killed at any moment and resumes where its log ends when it is started again.
// usage: node [--experimental-websocket] stream.cjs ADDRESS TOKEN LOG
const fs = require('node:fs');
const path = require('node:path');

const source = fs.readFileSync(path.join(__dirname, 'follow.js'), 'utf8');
const follow = new Function(`${source}; return follow`)();
const [address, token, file] = process.argv.slice(2);

/** The last complete position in the log. Removes incomplete lines after it; their messages are sent again. */
function lastPosition() {
    const lines = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
    while (lines.length && lines.at(-1).startsWith('- ')) lines.pop();
    fs.writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
    const last = lines.at(-1) ?? 'LOST';
    return last === 'LOST' ? '0' : last.split(' ')[0];
}

follow(address, token, {
    pos: lastPosition(),
    // One write: a kill leaves all lines, or a part that lastPosition() removes.
    append: (lines) => fs.appendFileSync(file, lines.map((line) => `${line}\n`).join('')),
});
