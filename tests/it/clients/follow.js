// A client of the stream of all messages, on the WebSocket built into Node and browsers. `log.pos` is the position to resume
// from; `log.append` writes lines in the format of stream.py.
function follow(address, token, log) {
    const url = `ws://${address}/ws?streams=messages&since=${log.pos}`;
    const socket = new WebSocket(url, ['agenthub', `bearer.${token}`]);
    socket.onmessage = ({ data: text }) => {
        const { type, pos, data } = JSON.parse(text);
        if (type === 'message') {
            log.append([`${pos} ${data.id}`]);
            log.pos = pos;
        } else if (type === 'batch') {
            const ids = data.messages.map((message) => message.id);
            log.append(ids.map((id, i) => `${i < ids.length - 1 ? '-' : pos} ${id}`));
            log.pos = pos;
        } else if (type === 'error' && data.code === 'POSITION_LOST') {
            log.append(['LOST']);
            log.pos = '0';
        }
    };
    // Reconnects after the connection ends or fails. (For a refused connection Node 20 calls only onerror.)
    let ended = false;
    socket.onclose = socket.onerror = () => {
        if (!ended) setTimeout(follow, 20, address, token, log);
        ended = true;
    };
}
