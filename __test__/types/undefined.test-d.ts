// With exactOptionalPropertyTypes, which package.json gives to tsd: whatever may be left out may be undefined.

import { expectAssignable, expectNotAssignable } from 'tsd';
import type {
  AutoExtendOptions,
  CallOptions,
  Conn,
  ConnectionOptions,
  MutexOptions,
  NodeHealth,
  NodeInspection,
  Pool,
  RedsyncOptions,
  TlsOptions,
} from '../..';

/** With undefined for whatever may be left out. */
type Undefined<T> = { [K in keyof T]: Record<string, never> extends Pick<T, K> ? undefined : T[K] };

declare const connection: Undefined<ConnectionOptions>;
declare const tls: Undefined<TlsOptions>;
declare const ofRedsync: Undefined<RedsyncOptions>;
declare const ofMutex: Undefined<MutexOptions>;
declare const ofCall: Undefined<CallOptions>;
declare const autoExtend: Undefined<AutoExtendOptions>;
declare const pool: Undefined<Pool>;
declare const conn: Undefined<Conn>;
declare const health: Undefined<NodeHealth>;
declare const inspection: Undefined<NodeInspection>;
expectAssignable<ConnectionOptions>(connection);
expectAssignable<TlsOptions>(tls);
expectAssignable<RedsyncOptions>(ofRedsync);
expectAssignable<MutexOptions>(ofMutex);
expectAssignable<CallOptions>(ofCall);
expectAssignable<AutoExtendOptions>(autoExtend);
expectAssignable<Pool>(pool);
expectAssignable<Conn>(conn);
expectAssignable<NodeHealth>(health);
expectAssignable<NodeInspection>(inspection);

// That the flag is on, without which all of this says nothing.
expectNotAssignable<{ a?: number }>({ a: undefined });
