// A client of the stream of all messages that uses the built-in WebSocket of Node and browsers. `log.pos` is the position to
// resume from; `log.note` appends lines in the format of stream.py.
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
    // The hub is down or the connection has ended: reconnect. Both events may fire, but after a refused connection Node 20
    // fires only "error".
    let ended = false;
    socket.onclose = socket.onerror = () => {
        if (!ended) setTimeout(follow, 20, address, token, log);
        ended = true;
    };
}
