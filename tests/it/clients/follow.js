// A client of the whole stream, on the WebSocket that Node and browsers have built in. `log` knows the position to go on
// from (`pos`) and takes lines as stream.py writes them (`note`).
function follow(address, token, log) {
    const url = `ws://${address}/ws?streams=messages&since=${log.pos}`;
    const socket = new WebSocket(url, ['agenthub', `bearer.${token}`]);
    socket.onmessage = ({ data: text }) => {
        const { type, pos, data } = JSON.parse(text);
        if (type === 'message') {
            log.note([`${pos} ${data.id}`]);
            log.pos = pos;
        } else if (type === 'batch') {
            const ids = data.messages.map((message) => message.id);
            log.note(ids.map((id, i) => `${i < ids.length - 1 ? '-' : pos} ${id}`));
            log.pos = pos;
        } else if (type === 'error' && data.code === 'POSITION_LOST') {
            log.note(['LOST']);
            log.pos = '0';
        }
    };
    // The hub is down, or this connection is over. It comes back. (Of a connection that was refused Node 20 says "error" alone.)
    let over = false;
    socket.onclose = socket.onerror = () => {
        if (!over) setTimeout(follow, 20, address, token, log);
        over = true;
    };
}
