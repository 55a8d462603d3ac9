// Preloaded (`node -r`): redirects requests for the SDK's fixed hosts, cmq-queue-REGION and cmq-topic-REGION under
// api.tencentyun.com, to CMQ_URL. The Host header stays as the SDK signed it, and the SDK is unchanged.
'use strict';

const http = require('http');

const target = new URL(process.env.CMQ_URL);
const FIXED_HOST = /^cmq-(queue|topic)-[a-z]+\.api\.tencentyun\.com$/;

const request = http.request;
http.request = function redirected(...args) {
  const options = args.find((arg) => arg && typeof arg === 'object' && !(arg instanceof URL)) || {};
  const asked = args[0] instanceof URL ? args[0].hostname : options.hostname || options.host;
  if (!FIXED_HOST.test(asked || '')) {
    return request.apply(this, args);
  }
  const path = args[0] instanceof URL ? args[0].pathname + args[0].search : options.path;
  const led = {
    ...options,
    host: target.hostname,
    hostname: target.hostname,
    port: target.port,
    path,
    headers: { ...options.headers, host: asked },
  };
  const callback = args.find((arg) => typeof arg === 'function');
  return request.call(this, led, callback);
};
