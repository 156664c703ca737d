-- What the texts of a call have in common with others of their shard: which were seen before, and how many replies people got
-- in this hour, is read and written for all of them at once. Stands before lua/commit.lua.
--
-- A text is a table with its `shard`, `kind`, `digest`, and `replies`, the field that counts those its sender gets from the
-- number that it was sent to. All texts of a shard are in its `texts` before anything is asked of it.

-- The dedupe window is kept in buckets of this many seconds, so that it expires without a look at each text.
local BUCKET = 43200
-- How many characters stand for a decision, see lua/commit.lua.
local ANSWER = 16
local HOUR = 3600

local function new_shard(prefix, now)
  local seconds = now / 1e6
  return {
    prefix = prefix, outbox = prefix .. 'outbox', seconds = seconds, bucket = math.floor(seconds / BUCKET),
    hour = math.floor(seconds / HOUR), texts = {}, buckets = 0, answers = {}, came = {}, marks = {}, replied = {},
  }
end

-- The key of a bucket, the newest or one so many before it.
local function bucket_key(shard, name, back)
  return string.format('%s%s:%d:%.0f', shard.prefix, name, BUCKET, shard.bucket - back)
end

local function replies_key(shard)
  return string.format('%sreplies:%.0f', shard.prefix, shard.hour)
end

-- Reads which texts were seen before: `shard.seen` has what was decided then, by digest, or a table that says where it stands.
local function look(shard)
  local texts, digests, most = shard.texts, {}, 0
  for i = 1, #texts do
    digests[i] = texts[i].digest
    most = math.max(most, texts[i].kind.shape.buckets)
  end
  shard.seen = {}
  for back = 0, most do
    local kept = redis.call('HMGET', bucket_key(shard, 'seen', back), unpack(digests))
    for i = 1, #texts do
      local digest, answer = digests[i], kept[i]
      if answer and back <= texts[i].kind.shape.buckets and not shard.seen[digest] then
        shard.seen[digest] = {answer = string.sub(answer, 1, ANSWER), answers = bucket_key(shard, 'answers', back)}
        shard.came[digest] = tonumber(string.sub(answer, ANSWER + 1))
      end
    end
  end
end

-- The decision that was taken on a text when it first came, and, for the confirmation of an opt-out, when, in seconds.
local function seen_before(text)
  local shard = text.shard
  if not shard.seen then
    look(shard)
  end
  local found = shard.seen[text.digest]
  if type(found) == 'table' then
    found = redis.call('HGET', found.answers, found.answer)
    shard.seen[text.digest] = found
  end
  return found, shard.came[text.digest]
end

-- The text was seen now, and got a decision, which `answer` stands for; `came` as for `seen_before`.
local function mark_seen(text, decision, answer, came)
  local shard, marks, digest = text.shard, text.shard.marks, text.digest
  if not shard.answers[answer] then
    redis.call('HSETNX', bucket_key(shard, 'answers', 0), answer, decision)
    shard.answers[answer] = true
  end
  shard.seen[digest], shard.came[digest] = decision, came
  shard.buckets = math.max(shard.buckets, text.kind.shape.buckets)
  marks[#marks + 1] = digest
  marks[#marks + 1] = came and string.format('%s%.0f', answer, came) or answer
end

-- Counts a reply that is about to be given: how many its sender got in this hour.
local function count_reply(text)
  local shard = text.shard
  local counts = shard.counts
  if not counts then
    local texts, wanted = shard.texts, {}
    for i = 1, #texts do
      wanted[i] = texts[i].replies
    end
    counts = {}
    local kept = redis.call('HMGET', replies_key(shard), unpack(wanted))
    for i = 1, #wanted do
      counts[wanted[i]] = kept[i] or 0
    end
    shard.counts = counts
  end
  local count = counts[text.replies] + 1
  counts[text.replies] = count
  shard.replied[text.replies] = count
  return count
end

-- A key lives until then, in unix seconds, and a minute, for clocks differ.
local function keep_until(shard, at, key)
  local seconds = math.ceil(at - shard.seconds)
  if redis.call('TTL', key) < seconds then
    redis.call('EXPIRE', key, seconds + 60)
  end
end

-- Writes what was marked and counted. A bucket is kept until the window of the last text that it can take is over.
local function write_shard(shard)
  local counts = {}
  for field, count in pairs(shard.replied) do
    counts[#counts + 1] = field
    counts[#counts + 1] = count
  end
  if counts[1] then
    redis.call('HSET', replies_key(shard), unpack(counts))
    keep_until(shard, (shard.hour + 1) * HOUR, replies_key(shard))
  end
  if shard.marks[1] then
    local seen, answers = bucket_key(shard, 'seen', 0), bucket_key(shard, 'answers', 0)
    redis.call('HSET', seen, unpack(shard.marks))
    local ends = (shard.bucket + 1 + shard.buckets) * BUCKET
    keep_until(shard, ends, seen)
    keep_until(shard, ends, answers)
  end
end
