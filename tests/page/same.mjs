// The page that travels is the page that is written: the same syntax tree, but for names no
// other module sees and declarations that follow one another.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hub, ok, done, say } from './support.mjs';

const npm = createRequire(process.env.AGENTHUB_NPM + '/'),
    { parse } = npm('acorn'),
    { analyze } = npm('eslint-scope'),
    ROOT = new URL('../../assets/dashboard/', import.meta.url);

/** Which variable each identifier is; what the browser gives is none. */
function variables(ast) {
    const found = new Map();
    for (const scope of analyze(ast, { ecmaVersion: 2022, sourceType: 'module' }).scopes) {
        for (const v of scope.variables) for (const id of v.identifiers) found.set(id, v);
        for (const r of scope.references) if (r.resolved) found.set(r.identifier, r.resolved);
    }
    return found;
}
/** Declarations of several names, taken apart. */
const apart = list =>
    list.flatMap(node => {
        const it = node?.type === 'ExportNamedDeclaration' ? node.declaration : node;
        if (it?.type !== 'VariableDeclaration') return [node];
        const each = it.declarations.map(d => ({ ...it, declarations: [d] }));
        return it === node ? each : each.map(declaration => ({ ...node, declaration }));
    });
/** The tree as text: a variable is the place where it is first met. */
function canonical(text) {
    const ast = parse(text, { ecmaVersion: 'latest', sourceType: 'module', ranges: true }),
        known = variables(ast),
        met = new Map(),
        names = new Set();
    const plain = node => {
        if (Array.isArray(node)) return apart(node).map(plain);
        if (node instanceof RegExp) return String(node);
        if (typeof node === 'bigint' || !node || typeof node !== 'object') return String(node);
        if (node.type === 'Identifier') {
            const v = known.get(node);
            if (!v) return node.name;
            names.add(node.name);
            if (!met.has(v)) met.set(v, met.size);
            return '#' + met.get(v);
        }
        const out = {};
        for (const [key, value] of Object.entries(node)) {
            if (!['start', 'end', 'range', 'shorthand', 'raw'].includes(key)) out[key] = plain(value);
        }
        // The key of `{ a }` is the very node its value is; what others see keeps its name.
        if (node.type === 'Property' && !node.computed) out.key = node.key.name ?? String(node.key.value);
        if (node.type === 'ImportSpecifier') out.imported = node.imported.name;
        if (node.type === 'ExportNamedDeclaration') out.shown = (node.declaration.declarations ?? [node.declaration]).map(d => d.id.name);
        return out;
    };
    return { tree: JSON.stringify(plain(ast.body)), names };
}

const h = await hub(),
    listed = readFileSync(new URL('../../src/server/dashboard.rs', import.meta.url), 'utf8').match(/"[\w/]+\.js"/g);
let before = 0,
    after = 0;
const letters = names => [...names].join('').length;
for (const path of listed.map(quoted => quoted.slice(1, -1))) {
    const written = canonical(readFileSync(new URL(path, ROOT), 'utf8')),
        served = canonical(await (await fetch(h.base + '/' + path)).text());
    let at = 0;
    while (written.tree[at] === served.tree[at] && at < written.tree.length) at++;
    ok(written.tree === served.tree, path, [written, served].map(({ tree }) => tree.slice(at - 200, at + 80)).join('\n  is served as  '));
    before += letters(written.names);
    after += letters(served.names);
}
say(`${listed.length} modules; their names have ${before} letters, and ${after} on their way`);
ok(listed.length >= 19 && after < 0.6 * before, 'every module was compared, and its names are short');
await h.stop();
await done();
