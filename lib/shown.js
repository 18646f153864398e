'use strict';

const { inspect } = require('node:util');

/**
 * What console.log() and JSON.stringify() show of an object: what people want to know, and no secret.
 *
 * @param {Function} Class
 * @param {(object: object) => object | undefined} describe nothing for what is none of the class, such as
 *   its prototype: that is shown as any object
 */
function showAs(Class, describe) {
  const methods = {
    toJSON() {
      return describe(this) ?? this;
    },
    [inspect.custom](depth, options, inspect) {
      const shown = describe(this);
      if (shown === undefined) return this;
      if (depth < 0) return options.stylize(`[${Class.name}]`, 'special');
      const deeper = options.depth === null ? null : options.depth - 1;
      return `${Class.name} ${inspect(shown, { ...options, depth: deeper })}`;
    },
  };
  for (const key of Reflect.ownKeys(methods)) {
    const property = { __proto__: null, value: methods[key], writable: true, configurable: true };
    Object.defineProperty(Class.prototype, key, property);
  }
}

module.exports = { showAs };
