import { GlideClient, GlideClusterClient } from '@valkey/valkey-glide';
import * as ioredis from 'ioredis';
import * as iovalkey from 'iovalkey';
import { createClient, createClientPool, createCluster, createSentinel } from 'redis';
import { createClient as createClient4, createCluster as createCluster4 } from 'redis-4';
import { expectAssignable, expectError, expectNotAssignable, expectType } from 'tsd';
import { Redsync } from '../..';
import type { Conn, NodeInput, Pool, Script } from '../..';
import { newPool as overIoredis } from '../../lib/adapters/ioredis';
import { newPool as overIovalkey } from '../../lib/adapters/iovalkey';
import { newPool as overNodeRedis } from '../../lib/adapters/node-redis';
import { newPool as overGlide } from '../../lib/adapters/valkey-glide';
import { instrument } from '../../lib/opentelemetry';
import { newClock } from '../../lib/testing';
import type { TestClock } from '../../lib/testing';

// Adapters
expectType<Pool>(overIoredis(new ioredis.Redis()));
expectType<Pool>(overIoredis(new ioredis.Cluster([])));
expectType<Pool>(overIovalkey(new iovalkey.Redis()));
expectType<Pool>(overIovalkey(new iovalkey.Cluster([])));
expectType<Pool>(overNodeRedis(createClient()));
expectType<Pool>(overNodeRedis(createClient({ RESP: 3 })));
expectType<Pool>(overNodeRedis(createClientPool()));
expectType<Pool>(overNodeRedis(createCluster({ rootNodes: [] })));
expectType<Pool>(overNodeRedis(createSentinel({ name: 'm', sentinelRootNodes: [] })));
expectType<Pool>(overNodeRedis(createClient4()));
expectType<Pool>(overNodeRedis(createCluster4({ rootNodes: [] })));
declare const glide: GlideClient;
declare const glideCluster: GlideClusterClient;
expectType<Pool>(overGlide(glide));
expectType<Pool>(overGlide(glideCluster));
expectError(overIoredis(createClient()));
expectError(overIovalkey('redis://a'));
expectError(overNodeRedis(new ioredis.Redis()));
expectError(overNodeRedis(glide));
expectError(overGlide(createClient()));

// A pool of one's own
declare const conn: Conn;
declare const script: Script;
expectAssignable<Pool>({ get: () => conn });
expectAssignable<Pool>({
  get: async (signal?: AbortSignal) => conn,
  endpoint: 'a',
  isCluster: true,
});
expectNotAssignable<Pool>({ get: () => 1 });
expectNotAssignable<Pool>({ get: () => conn, endpoint: 1 });
expectNotAssignable<Pool>({});
expectType<Promise<boolean>>(conn.setNX('name', 'value', 1000));
expectType<Promise<unknown>>(conn.eval(script, ['name'], ['value', 1]));
expectType<Promise<number>>(conn.pttl('name'));
expectType<void | Promise<void>>(conn.close());
type Called = 'setNX' | 'eval' | 'pttl' | 'close';
declare const called: Pick<Conn, Called>;
expectAssignable<Conn>(called);
expectAssignable<Conn>({ ...called, get: async () => null, set: async () => true });
expectAssignable<Conn>({ ...called, scriptLoad: async () => 'sha1' });
expectNotAssignable<Conn>({ ...called, get: async () => 1 });
expectNotAssignable<Conn>({ ...called, set: async () => 'OK' });
expectNotAssignable<Conn>({ ...called, scriptLoad: () => 'sha1' });
declare const withoutSetNX: Omit<Conn, 'setNX'>;
declare const withoutEval: Omit<Conn, 'eval'>;
declare const withoutPttl: Omit<Conn, 'pttl'>;
declare const withoutClose: Omit<Conn, 'close'>;
expectNotAssignable<Conn>(withoutSetNX);
expectNotAssignable<Conn>(withoutEval);
expectNotAssignable<Conn>(withoutPttl);
expectNotAssignable<Conn>(withoutClose);
expectType<Promise<string | null> | undefined>(conn.get?.('name'));
expectType<Promise<boolean> | undefined>(conn.set?.('name', 'value'));
expectType<Promise<string> | undefined>(conn.scriptLoad?.(script));
expectType<string>(script.source);
expectType<string>(script.sha1);

// Nodes
expectAssignable<NodeInput>({ get: () => conn });
expectType<Redsync>(new Redsync(overGlide(glide)));
expectType<Redsync>(new Redsync(['redis://a', { host: 'b' }, overNodeRedis(createClient())]));
expectType<Redsync>(new Redsync([new ioredis.Redis(), new ioredis.Redis()].map(overIoredis)));
expectError(new Redsync(new ioredis.Redis()));
expectError(new Redsync(createClient()));
expectError(new Redsync([glide]));

// Clocks for tests
const clock = newClock();
expectType<TestClock>(clock);
expectType<string[]>(clock.nodes());
expectType<string[]>(clock.nodes(5));
expectType<Promise<void>>(clock.advance(1000));
expectType<Redsync>(new Redsync(clock.nodes()));
expectError(clock.advance());
expectError(clock.nodes('3'));

// OpenTelemetry
expectType<() => void>(instrument());
expectType<() => void>(instrument(new Redsync('memory:')));
expectType<() => void>(instrument(undefined));
expectError(instrument('memory:'));
expectError(instrument(null));
