export { Redlock as default, Redlock, Lock, ExecutionError, ResourceLockedError } from './index.js';
export type {
  Client,
  ClientExecutionResult,
  ExecutionResult,
  ExecutionStats,
  IoredisClient,
  PartialSettings,
  RedlockAbortSignal,
  Script,
  Settings,
} from './index.js';
