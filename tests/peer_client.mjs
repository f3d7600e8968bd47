// The conversations of peer_client.py, held by the official TypeScript client 2.x.
//
//     MCP_PEER_TS=/npm/prefix node tests/peer_client.mjs auto http://127.0.0.1:8000/mcp progress
//
// prints what the client saw as JSON, in the words of peer_client.py. `auto` tries server/discover first, `session`
// opens one at once, and `sse` does so over HTTP+SSE.

import { createRequire } from 'node:module'

const require = createRequire(`${process.env.MCP_PEER_TS}/`)
const {
    Client, SSEClientTransport, StreamableHTTPClientTransport, UnauthorizedError
} = require('@modelcontextprotocol/client')
const [way, url, conversation] = process.argv.slice(2)
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel'

// --- A client that is connected ----------------------------------------------------------------------

const connected = [] // to be closed

async function connect({ on = {}, onLog, onTools, transport = {} } = {}) {
    const capabilities = Object.fromEntries(Object.keys(on).map((method) => [method.split('/')[0], {}]))
    const client = new Client(
        { name: 'peer', version: '1.0.0' },
        { capabilities, versionNegotiation: { mode: way === 'auto' ? 'auto' : 'legacy' } }
    )
    for (const [method, answer] of Object.entries(on)) client.setRequestHandler(method, ({ params }) => answer(params))
    if (onLog) client.setNotificationHandler('notifications/message', ({ params }) => onLog(params))
    if (onTools) client.setNotificationHandler('notifications/tools/list_changed', onTools)
    const open = way === 'sse' ? SSEClientTransport : StreamableHTTPClientTransport
    await client.connect(new open(new URL(way === 'sse' ? url.replace(/mcp$/, 'sse') : url), transport))
    connected.push(client)
    return client
}

const call = (client, name, args = {}, options = {}, _meta = undefined) =>
    client.callTool({ name, arguments: args, ...(_meta && { _meta }) }, options)
const text = async (...request) => (await call(...request)).content[0].text

// What answers(seen) of peer_client.py gives.
const answers = (seen) => ({
    'sampling/createMessage': ({ messages, maxTokens }) => {
        seen.push({ messages, maxTokens })
        return { role: 'assistant', content: { type: 'text', text: 'It is 42.' }, model: 'deep-thought' }
    },
    'elicitation/create': ({ message, requestedSchema }) => {
        seen.push(message)
        if (!message.endsWith('?')) return { action: 'decline' }
        const names = Object.keys(requestedSchema.properties)
        return { action: 'accept', content: Object.fromEntries(names.map((name) => [name, 'ada'])) }
    },
    'roots/list': () => ({ roots: [{ uri: 'file:///home/ada', name: 'home' }] })
})

// --- The conversations: each returns what it saw -----------------------------------------------------

const conversations = {
    async hello() {
        const client = await connect()
        const names = (list) => list.map(({ name }) => name)
        const name = 'test_prompt_with_arguments'
        const prompt = await client.getPrompt({ name, arguments: { arg1: 'a', arg2: '\u2028' } })
        const ref = { type: 'ref/prompt', name }
        return {
            protocolVersion: client.getNegotiatedProtocolVersion(),
            serverInfo: client.getServerVersion(),
            tools: names((await client.listTools()).tools),
            resources: (await client.listResources()).resources.map(({ uri }) => uri),
            prompts: names((await client.listPrompts()).prompts),
            echo: await text(client, 'echo', { text: '\u2028 \u{1f600}' }),
            region: await text(client, 'test_x_mcp_header', { region: 'Z\u00fcrich \u{1f600}' }),
            read: (await client.readResource({ uri: 'test://template/7/data' })).contents[0],
            prompt: prompt.messages[0],
            completion: (await client.complete({ ref, argument: { name: 'arg1', value: 'test' } })).completion.values
        }
    },

    async progress() {
        const seen = []
        const client = await connect()
        const onprogress = ({ progress, total, message = null }) => seen.push([progress, total, message])
        seen.push(await text(client, 'count', { n: 5, delay: 0.01 }, { onprogress }))
        return seen
    },

    async log() {
        const seen = []
        const client = await connect({ onLog: ({ level, data }) => seen.push({ level, data }) })
        for (const level of ['info', 'error']) {
            if (way !== 'auto') await client.setLoggingLevel(level)
            seen.push(await text(client, 'test_tool_with_logging', {}, {}, way === 'auto' && { [LOG_LEVEL]: level }))
        }
        return seen
    },

    async sampling() {
        const seen = []
        const client = await connect({ on: answers(seen) })
        seen.push(await text(client, 'test_sampling', { prompt: 'What is it?' }))
        return seen
    },

    async elicitation() {
        const seen = []
        const client = await connect({ on: answers(seen) })
        for (const message of ['Who?', 'Anonymous!']) seen.push(await text(client, 'test_elicitation', { message }))
        return seen
    },

    async roots() {
        const client = await connect({ on: answers([]) })
        return text(client, 'test_input_required_result_list_roots')
    },

    async rounds() {
        const asked = []
        const client = await connect({ on: answers(asked) })
        const results = [
            await text(client, 'test_input_required_result_multi_round'),
            await text(client, 'test_input_required_result_multiple_inputs'),
            (await client.getPrompt({ name: 'test_input_required_result_prompt' })).messages[0].content.text
        ]
        return [...asked.filter((question) => typeof question === 'string'), ...results]
    },

    async incapable() {
        const seen = []
        const client = await connect()
        for (const [name, args] of [['test_sampling', { prompt: '?' }], ['test_elicitation', { message: '?' }]]) {
            seen.push(await text(client, name, args).catch(({ code, message, data }) => ({ code, message, data })))
        }
        return seen
    },

    async changes() {
        let onTools
        const noticed = new Promise((resolve) => (onTools = resolve))
        const client = await connect({ onTools })
        const subscription = way === 'auto' && (await client.listen({ toolsListChanged: true }))
        const names = async () => (await client.listTools()).tools.map(({ name }) => name)
        const before = await names()
        const name = await text(client, 'add_a_tool')
        await noticed
        const after = await names()
        if (subscription) await subscription.close()
        return [before.includes(name), after.includes(name), (await text(client, name)) === `I am ${name}`]
    },

    async concurrent() {
        const client = await connect()
        const numbers = [...Array(10).keys()]
        const slow = numbers.map((n) => text(client, 'slow', { seconds: 0.2 - n / 100, text: `slow ${n}` }))
        const echo = numbers.map((n) => text(client, 'echo', { text: `echo ${n}` }))
        return Promise.all([...slow, ...echo])
    },

    async with_token() {
        const headers = { Authorization: 'Bearer s3cret' }
        return text(await connect({ transport: { requestInit: { headers } } }), 'who')
    },

    async without_token() {
        return connect().then(() => null, (error) => `${error.message} ${error.data?.status ?? ''}`)
    },

    // The provider only starts what the user's browser has to do; who calls it comes back with the code, and tries again.
    async authorize() {
        const kept = {}
        let location
        const authProvider = {
            redirectUrl: 'http://127.0.0.1:1/callback',
            clientMetadata: { client_name: 'peer', redirect_uris: ['http://127.0.0.1:1/callback'] },
            clientInformation: () => kept.client,
            saveClientInformation: (client) => (kept.client = client),
            tokens: () => kept.tokens,
            saveTokens: (tokens) => (kept.tokens = tokens),
            codeVerifier: () => kept.verifier,
            saveCodeVerifier: (verifier) => (kept.verifier = verifier),
            redirectToAuthorization: async (where) => {
                location = new URL((await fetch(where, { redirect: 'manual' })).headers.get('location'))
            }
        }
        const authorized = async (act) => {
            try {
                return await act()
            } catch (error) {
                if (!(error instanceof UnauthorizedError)) throw error
                const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider })
                await transport.finishAuth(location.searchParams)
                return act()
            }
        }
        const client = await authorized(() => connect({ transport: { authProvider } }))
        return text(client, 'who')
    },

    async cancel() {
        const client = await connect()
        const controller = new AbortController()
        const started = new Promise((resolve) => {
            call(client, 'work_for_ever', {}, { onprogress: resolve, signal: controller.signal }).catch(() => {})
        })
        await started
        controller.abort('changed my mind')
        await call(client, 'wait_for_the_end')
        return []
    }
}

console.log(JSON.stringify(await conversations[conversation]()))
for (const client of connected) await client.close()
