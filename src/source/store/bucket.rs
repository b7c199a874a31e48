//! One bucket, container or host, ready to be asked.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::super::secret::Secret;
use super::super::spent::{Meter, Spent};
use super::client::Connector;
use super::definition::{Az, AzAccess, Gs, GsAccess, Location, S3, S3Access, Scheme, Store};
use super::error::{Asked, place, told};
use crate::source::Error;

/// What Amazon has for those who name none; stores of others take it for their own.
const REGION: &str = "us-east-1";
/// Tries of one request after the first.
const RETRIES: usize = 4;
/// No try begins later than this after the first.
const LONGEST: Duration = Duration::from_secs(30);

/// Where the objects of a table are asked for.
#[derive(Clone)]
pub(in crate::source) struct Bucket {
    pub location: Location,
    pub objects: Arc<dyn ObjectStore>,
    /// None where nobody lists.
    pub(super) pages: Option<Pages>,
    /// Where it is asked, if that is said.
    pub(super) endpoint: Option<String>,
    pub meter: Arc<Meter>,
}

#[derive(Clone)]
pub(super) struct Pages(pub Arc<dyn PaginatedListStore>);

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

/// What the library says of its stores has keys in it.
impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bucket({})", self.location)
    }
}

impl Bucket {
    /// Asks nobody. May read files with credentials.
    ///
    /// # Errors
    /// The credentials are of no use.
    pub fn open(
        table: &str,
        location: &Location,
        store: &Store,
        spent: &Arc<Spent>,
    ) -> Result<Bucket, Error> {
        let meter = Arc::new(Meter::of(spent));
        let connector = Connector {
            connect_timeout: store.connect_timeout,
            idle_timeout: store.idle_timeout,
            headers: match location.scheme {
                Scheme::Http => store.headers.clone(),
                _ => Vec::new(),
            },
            meter: Arc::clone(&meter),
        };
        check_home(table, location, store, std::env::var_os("HOME"))?;
        let (objects, pages) = build(location, store, connector).map_err(|_| {
            Error::Definition(format!(
                "table `{table}`: {} cannot be used as it is said: credentials, endpoint or name do not fit; correct \
                 `store`",
                place(location)
            ))
        })?;
        let endpoint = match location.scheme {
            Scheme::S3 => store.s3.endpoint.clone(),
            Scheme::Gs => store.gs.endpoint.clone(),
            Scheme::Az => store.az.endpoint.clone(),
            Scheme::Http => None,
        };
        Ok(Bucket { location: location.clone(), objects, pages, endpoint, meter })
    }

    /// What an error of it means.
    pub fn told(&self, table: &str, asked: Asked<'_>, error: &object_store::Error) -> Error {
        told(table, &self.location, self.endpoint.as_deref(), asked, error)
    }
}

/// The library takes a file of the home folder before it asks the machine whose role it is to have.
fn check_home(
    table: &str,
    location: &Location,
    store: &Store,
    home: Option<OsString>,
) -> Result<(), Error> {
    let is_of_machine = matches!(store.gs.access, GsAccess::Instance);
    let file = home.filter(|_| location.scheme == Scheme::Gs && is_of_machine).map(PathBuf::from);
    let file = file.map(|home| home.join(".config/gcloud/application_default_credentials.json"));
    match file.filter(|file| file.exists()) {
        None => Ok(()),
        Some(file) => Err(Error::Definition(format!(
            "table `{table}`: with `role: instance` the credentials of `{}` would be taken, and not those of the machine; \
             remove that file, or name it by `credentials: file:PATH` under `store: {{gs: ..}}`",
            file.display()
        ))),
    }
}

type Built = (Arc<dyn ObjectStore>, Option<Pages>);

fn build(
    location: &Location,
    store: &Store,
    connector: Connector,
) -> Result<Built, object_store::Error> {
    let holder = location.holder.as_str();
    fn both<S: ObjectStore + PaginatedListStore>(store: S) -> Built {
        let store = Arc::new(store);
        (Arc::clone(&store) as _, Some(Pages(store)))
    }
    Ok(match location.scheme {
        Scheme::S3 => both(s3(holder, &store.s3, connector).build()?),
        Scheme::Gs => both(gs(holder, &store.gs, connector).build()?),
        Scheme::Az => both(az(holder, &store.az, connector).build()?),
        Scheme::Http => {
            let builder = HttpBuilder::new().with_url(holder).with_retry(retries());
            let builder = builder.with_client_options(options(holder.starts_with("http:")));
            (Arc::new(builder.with_http_connector(connector).build()?), None)
        }
    })
}

fn s3(bucket: &str, s3: &S3, connector: Connector) -> AmazonS3Builder {
    let S3 { endpoint, region, is_path_style, access, .. } = s3;
    let is_plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http:"));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region.as_deref().unwrap_or(REGION))
        .with_virtual_hosted_style_request(!is_path_style)
        .with_retry(retries())
        .with_client_options(options(is_plain))
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        let endpoint = match endpoint.split_once("://") {
            Some((scheme, host)) if !is_path_style => format!("{scheme}://{bucket}.{host}"),
            _ => endpoint.clone(),
        };
        builder = builder.with_endpoint(endpoint);
    }
    match access {
        S3Access::Anonymous => builder.with_skip_signature(true),
        S3Access::Keys { id, secret, token } => {
            let builder = builder.with_access_key_id(id.expose());
            let builder = builder.with_secret_access_key(secret.expose());
            match token {
                Some(token) => builder.with_token(token.expose()),
                None => builder,
            }
        }
        S3Access::WebIdentity { token_file, role } => builder
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file)
            .with_config(AmazonS3ConfigKey::RoleArn, role)
            .with_config(AmazonS3ConfigKey::RoleSessionName, "counterflow"),
        S3Access::Container { path } => {
            builder.with_config(AmazonS3ConfigKey::ContainerCredentialsRelativeUri, path)
        }
        S3Access::Pod { address, token_file } => builder
            .with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, address)
            .with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, token_file),
        S3Access::Instance => builder,
    }
}

fn gs(bucket: &str, gs: &Gs, connector: Connector) -> GoogleCloudStorageBuilder {
    let Gs { endpoint, access, .. } = gs;
    let is_plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http:"));
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_retry(retries())
        .with_client_options(options(is_plain))
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    match access {
        GsAccess::Anonymous => builder.with_skip_signature(true),
        GsAccess::Key(key) => builder.with_service_account_key(key.expose()),
        GsAccess::File(file) => builder.with_application_credentials(path(file)),
        GsAccess::Instance => builder,
    }
}

fn az(container: &str, az: &Az, connector: Connector) -> MicrosoftAzureBuilder {
    let Az { account, endpoint, access, .. } = az;
    let is_plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http:"));
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(container)
        .with_retry(retries())
        .with_client_options(options(is_plain))
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    match access {
        AzAccess::Anonymous => builder.with_skip_signature(true),
        AzAccess::Key(key) => builder.with_access_key(key.expose()),
        AzAccess::Sas(token) => builder.with_sas_authorization(pairs(token)),
        AzAccess::Client { tenant, id, secret } => {
            builder.with_client_secret_authorization(id, secret.expose(), tenant)
        }
        AzAccess::Workload { tenant, id, token_file } => {
            builder.with_client_id(id).with_tenant_id(tenant).with_federated_token_file(token_file)
        }
        AzAccess::Instance => builder,
    }
}

/// The parts of a shared access signature.
pub(super) fn pairs(token: &Secret) -> Vec<(String, String)> {
    let token = token.expose().trim_start_matches('?');
    url::form_urlencoded::parse(token.as_bytes()).into_owned().collect()
}

fn options(is_plain: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(is_plain)
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: LONGEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_shown_without_the_keys_to_it() {
        let secret = || Secret::new("canary".into());
        let access = S3Access::Keys { id: secret(), secret: secret(), token: Some(secret()) };
        let s3 = S3 { access, ..S3::default() };
        let store = Store { s3, ..Store::default() };
        let location =
            Location { scheme: Scheme::S3, holder: "lake".into(), pattern: "a/*".into() };
        let bucket = Bucket::open("t", &location, &store, &Arc::default()).unwrap();
        assert_eq!(format!("{bucket:?}"), "Bucket(s3://lake/a/*)");
    }

    #[test]
    fn the_role_of_a_machine_is_refused_where_a_file_of_the_home_folder_would_be_taken_for_it() {
        let home = tempfile::tempdir().unwrap();
        let location = |scheme| Location { scheme, holder: "lake".into(), pattern: "a/*".into() };
        let store = |access| Store { gs: Gs { access, ..Gs::default() }, ..Store::default() };
        let check = |scheme, access| {
            let home = Some(home.path().as_os_str().to_owned());
            check_home("t", &location(scheme), &store(access), home)
        };
        check(Scheme::Gs, GsAccess::Instance).unwrap();
        let file = home.path().join(".config/gcloud/application_default_credentials.json");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "{}").unwrap();
        let said = check(Scheme::Gs, GsAccess::Instance).unwrap_err().to_string();
        for words in
            ["table `t`", "`role: instance`", "application_default_credentials.json", "file:PATH"]
        {
            assert!(said.contains(words), "no {words} in {said}");
        }
        check(Scheme::Gs, GsAccess::Anonymous).unwrap();
        check(Scheme::S3, GsAccess::Instance).unwrap();
    }
}
