//! `wrapped = GenerateDataKey(KMS key, AES_256, encryption context)` once, `Decrypt` at each start (AWS
//! KMS API). The encryption context names Trefoil and the store, so no other wrapped key opens here.
//!
//! Calls block. AWS's SDK is asynchronous, so each runs on a thread of its own with a runtime of its
//! own, which also works within the runtime of the caller. The SDK keeps the key that it receives in
//! buffers that it does not wipe: with KMS, the lock key is in this process's freed memory for a while.

use super::{LENGTH, LockError, LockKey, Wrapped};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// For one attempt, of which the SDK makes three.
const ATTEMPT: Duration = Duration::from_secs(10);

/// A key of KMS, and where it is.
pub(super) struct Key<'a> {
    pub(super) key_id: &'a str,
    pub(super) endpoint: Option<&'a str>,
    pub(super) region: Option<&'a str>,
}

/// The names of the encryption context.
const PURPOSE: (&str, &str) = ("trefoil:purpose", "store lock");
const STORE: &str = "trefoil:store";

impl Key<'_> {
    /// A new lock key, and what [`Key::unwrap`] needs to give it again.
    pub(super) fn generate(&self, store_id: &str) -> Result<(LockKey, Wrapped), LockError> {
        self.with_client(async |client| {
            let answer = client
                .generate_data_key()
                .key_id(self.key_id)
                .key_spec(DataKeySpec::Aes256)
                .encryption_context(PURPOSE.0, PURPOSE.1)
                .encryption_context(STORE, store_id)
                .send()
                .await
                .map_err(|error| self.failed(&error))?;
            let wrapped =
                answer.ciphertext_blob().map(|blob| Base64UrlUnpadded::encode_string(blob.as_ref()));
            let key_arn = answer.key_id().unwrap_or(self.key_id).to_owned();
            let key = self.lock_key(answer.plaintext)?;
            let wrapped = wrapped.ok_or_else(|| self.error("its answer has no wrapped key"))?;
            Ok((key, Wrapped::AwsKms { key_arn, wrapped }))
        })
    }

    /// The lock key again.
    pub(super) fn unwrap(&self, store_id: &str, wrapped: &str) -> Result<LockKey, LockError> {
        let wrapped = Base64UrlUnpadded::decode_vec(wrapped)
            .map_err(|_| self.error("the wrapped key in the store is malformed"))?;
        self.with_client(async |client| {
            let answer = client
                .decrypt()
                .key_id(self.key_id)
                .ciphertext_blob(Blob::new(wrapped))
                .encryption_context(PURPOSE.0, PURPOSE.1)
                .encryption_context(STORE, store_id)
                .send()
                .await
                .map_err(|error| self.failed(&error))?;
            self.lock_key(answer.plaintext)
        })
    }

    fn lock_key(&self, plaintext: Option<Blob>) -> Result<LockKey, LockError> {
        let plaintext = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
        if plaintext.len() != LENGTH {
            return Err(self.error("its answer is no key of 32 bytes"));
        }
        let mut key = LockKey::zero();
        key.0.copy_from_slice(&plaintext);
        Ok(key)
    }

    fn with_client<T: Send>(
        &self,
        call: impl AsyncFnOnce(Client) -> Result<T, LockError> + Send,
    ) -> Result<T, LockError> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| self.error(&format!("cannot start a runtime: {error}")))?;
                runtime.block_on(async { call(self.client().await).await })
            });
            thread.join().unwrap_or_else(|_| Err(self.error("the call panicked")))
        })
    }

    async fn client(&self) -> Client {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
        if let Some(region) = self.region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(endpoint) = self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Client::new(&loader.load().await)
    }

    fn error(&self, reason: &str) -> LockError {
        LockError::AwsKms { key_id: self.key_id.to_owned(), reason: reason.to_owned() }
    }

    fn failed<E>(&self, error: &SdkError<E>) -> LockError
    where
        SdkError<E>: ProvideErrorMetadata + std::error::Error,
    {
        let Some(code) = error.code() else {
            let reason = DisplayErrorContext(error);
            return self.error(&format!(
                "it cannot be reached, or there are no credentials or region for it: {reason}"
            ));
        };
        let hint = match code {
            "NotFoundException" => "there is no such key in this account and region",
            "DisabledException" => "the key is disabled; enable it",
            "KMSInvalidStateException" => "the key is about to be deleted; cancel the deletion",
            "AccessDeniedException" => {
                "these credentials may not use the key; they need kms:GenerateDataKey and kms:Decrypt"
            }
            "IncorrectKeyException" => "the store was locked by another key",
            "InvalidCiphertextException" => "the wrapped key belongs to another store or another key",
            _ => "the service refused",
        };
        self.error(&format!("{hint} ({code}: {})", error.message().unwrap_or("no message")))
    }
}
