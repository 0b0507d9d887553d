#!/usr/bin/env -S NODE_PATH=/usr/share/nodejs node
// Nodemailer with its defaults; POOL=1 keeps one connection.
const nodemailer = require("nodemailer");
const { HOST, PORT, POOL, NAME, FROM, TO, CC, BCC, SUBJECTS, TEXT, ATTACHMENT, LOGIN, PASSWORD, TLS } = process.env;
const pool = POOL ? { pool: true, maxConnections: 1 } : {};
const login = LOGIN ? { auth: { user: LOGIN, pass: PASSWORD } } : {};
const transport = nodemailer.createTransport({ host: HOST, port: PORT, secure: TLS === "implicit", ...login, ...pool });
const list = (addresses) => addresses.split(" ").filter(Boolean);

(async () => {
  for (const subject of SUBJECTS.split("\n")) {
    const attachments = ATTACHMENT ? [{ filename: "scan.bin", path: ATTACHMENT }] : [];
    const from = { name: NAME, address: FROM };
    const text = { path: TEXT };
    await transport.sendMail({ from, to: list(TO), cc: list(CC), bcc: list(BCC), subject, text, attachments });
  }
  transport.close();
})();
