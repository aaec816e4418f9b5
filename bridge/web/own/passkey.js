// Passkeys. Without scripts, or where the browser has none, the password below does the same.
const from64 = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
const to64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')

async function ask(path, token, body) {
  const answer = await fetch(path, {
    method: 'POST', redirect: 'error', headers: { 'X-Form-Token': token, 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const told = await answer.json()
  if (!answer.ok) throw new Error(`${told.detail ?? ''} ${told.hint ?? ''}`.trim())
  return told
}

async function make(token) {
  const { publicKey } = await ask('/passkeys/new', token)
  publicKey.challenge = from64(publicKey.challenge)
  publicKey.user.id = from64(publicKey.user.id)
  for (const known of publicKey.excludeCredentials ?? []) known.id = from64(known.id)
  const made = await navigator.credentials.create({ publicKey })
  return ask('/passkeys/made', token, {
    id: made.id, rawId: to64(made.rawId), type: made.type, authenticatorAttachment: made.authenticatorAttachment ?? null,
    clientExtensionResults: {},
    response: { clientDataJSON: to64(made.response.clientDataJSON), attestationObject: to64(made.response.attestationObject) },
  })
}

async function prove(token, path) {
  const { publicKey } = await ask('/passkeys/ask', token)
  publicKey.challenge = from64(publicKey.challenge)
  for (const known of publicKey.allowCredentials ?? []) known.id = from64(known.id)
  const proof = await navigator.credentials.get({ publicKey })
  return ask(path, token, {
    id: proof.id, rawId: to64(proof.rawId), type: proof.type, clientExtensionResults: {},
    response: {
      clientDataJSON: to64(proof.response.clientDataJSON), authenticatorData: to64(proof.response.authenticatorData),
      signature: to64(proof.response.signature),
      userHandle: proof.response.userHandle ? to64(proof.response.userHandle) : null,
    },
  })
}

for (const part of document.querySelectorAll('[data-passkey]')) {
  if (!window.PublicKeyCredential) continue
  part.hidden = false
  const { passkey, token, next, refused } = part.dataset
  const told = part.querySelector('[data-passkey-error]')
  const button = part.querySelector('button')
  button.addEventListener('click', async () => {
    told.textContent = ''
    button.disabled = true
    try {
      const path = passkey === 'unlock' ? '/passkeys/unlock' : `/passkeys/sign-in?next=${encodeURIComponent(next)}`
      const answer = passkey === 'register' ? await make(token) : await prove(token, path)
      window.location.assign(answer.go)
    } catch (error) {
      // The person said no, or the device has no passkey for this node: its own words would not help.
      told.textContent = error instanceof DOMException ? refused : error.message
      button.disabled = false
    }
  })
}
