'use strict';

const { X509Certificate } = require('node:crypto');

const selfsigned = require('selfsigned');

const DAY = 24 * 60 * 60 * 1000;

// The types of alternative names, by their number in X.509.
const DNS = 2;
const IP = 7;

/** A certificate authority that exists in memory only, and for as long as the tests run. */
class Authority {
  #key;

  constructor({ cert, private: key }) {
    this.cert = cert;
    this.#key = key;
  }

  /**
   * Issues a certificate, good for a server and for a client. Days count from now.
   *
   * @returns {Promise<{ ca: string, cert: string, key: string }>}
   */
  async issue({ names = [], addresses = [], fromDay = -1, toDay = 1 } = {}) {
    const altNames = [
      ...names.map((value) => ({ type: DNS, value })),
      ...addresses.map((ip) => ({ type: IP, ip })),
    ];
    const { cert, private: key } = await generate(
      'leaf',
      fromDay,
      toDay,
      [
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'keyUsage', digitalSignature: true, critical: true },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        ...(altNames.length > 0 ? [{ name: 'subjectAltName', altNames }] : []),
      ],
      { cert: this.cert, key: this.#key },
    );
    return { ca: this.cert, cert, key };
  }
}

function generate(commonName, fromDay, toDay, extensions, ca) {
  return selfsigned.generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() + fromDay * DAY),
    notAfterDate: new Date(Date.now() + toDay * DAY),
    extensions,
    ca,
  });
}

async function createAuthority(name = 'authority') {
  return new Authority(
    await generate(name, -30, 30, [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, critical: true },
    ]),
  );
}

/** A certificate that a server has made for itself, as an authority. */
async function signItself() {
  const { cert, private: key } = await generate('itself', -1, 1, [
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'subjectAltName', altNames: [{ type: IP, ip: '127.0.0.1' }] },
  ]);
  return { ca: cert, cert, key };
}

/** What a pin is; as Node.js prints it. */
function fingerprintOf(cert) {
  return new X509Certificate(cert).fingerprint256;
}

module.exports = { createAuthority, fingerprintOf, signItself };
