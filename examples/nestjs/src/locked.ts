import { Inject } from '@nestjs/common';
import { Redsync, type CallOptions, type MutexOptions } from 'redsync';

/** Where an object has the `Redsync` that its decorated methods lock with: Nest puts it there. */
const REDSYNC = Symbol('redsync');

/** Any method that begins with these arguments. */
type Method<Args extends unknown[]> = (...args: [...Args, ...any[]]) => Promise<any>;

/**
 * Runs a method of a provider under a lock, whose name `nameOf` says by the arguments of the call. The lock is kept until
 * the method has ended. Behind its arguments the method gets a signal, which aborts when the lock is lost.
 *
 *     @Locked((account: string) => `account:${account}`, { wait: 20_000 })
 *     async pay(account: string, amount: number, signal?: AbortSignal) { … }
 */
export function Locked<Args extends unknown[]>(
  nameOf: (...args: Args) => string,
  options: MutexOptions & CallOptions = {},
) {
  return (
    target: object,
    _key: string | symbol,
    descriptor: TypedPropertyDescriptor<Method<Args>>,
  ): void => {
    const method = descriptor.value;
    if (!method) throw new TypeError('@Locked() is for methods');
    Inject(Redsync)(target, REDSYNC);
    descriptor.value = function (this: { [REDSYNC]: Redsync }, ...args) {
      const name = nameOf(...(args as unknown as Args));
      return this[REDSYNC].using(name, options, (signal) => method.call(this, ...args, signal));
    } as Method<Args>;
  };
}
